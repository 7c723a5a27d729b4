"""Logins at the listener: real programs, each with the mechanisms it knows, over each way in.

| program | mechanisms | ways |
|---|---|---|
| smtplib | PLAIN, LOGIN | TCP, STARTTLS, the unix socket |
| swaks | PLAIN, LOGIN | TCP, STARTTLS, the unix socket |
| curl | PLAIN, LOGIN | TCP, STARTTLS |
| nodemailer | PLAIN, LOGIN | TCP, STARTTLS |
| PHPMailer, Perl (Net::SMTP), Ruby (net-smtp, as Rails), git send-email | PLAIN, LOGIN | TCP, STARTTLS |
| Symfony, Go (net/smtp) | one of their own choice | TCP, STARTTLS |
| msmtp (GNU SASL) | PLAIN, LOGIN, SCRAM-SHA-256 | TCP, STARTTLS |
| nullmta, as the client of another one | PLAIN, LOGIN, SCRAM-SHA-256, SCRAM-SHA-256-PLUS | STARTTLS |
"""

import base64
import json
import os
import pty
import re
import smtplib
import socket
import ssl
import subprocess

import pytest

from content import split
from daemon import Nullmta, binary, submit
from waiting import free_port, wait_until

SENT = b"Subject: hello\r\nFrom: ann@example.org\r\n\r\nHello.\r\n"
NAMES = "DNS:localhost,DNS:client.nullmta.test,IP:127.0.0.1"
PASSWORD = "p\u00e4ss word,=1"


def user(daemon, command, *arguments, password=None):
    """`nullmta user`, with the password on standard input."""
    return subprocess.run(
        [str(binary()), "user", command, "-c", str(daemon.config), *arguments],
        input=None if password is None else password + "\n", capture_output=True, text=True, timeout=60,
        **({"stdin": subprocess.DEVNULL} if password is None else {}),
    )


def add(daemon, name="shop", password=PASSWORD, *arguments):
    done = user(daemon, "add", name, *arguments, password=password)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def pair(authority):
    return authority.issue("listener-auth", NAMES)


@pytest.fixture
def with_users(make_nullmta, postfix, pair, scratch):
    """Makes a daemon with the user `shop`, running; with `listen` as further lines of [listen]."""

    def make(*listen, tls=True, start=True):
        lines = [f'users-file = "{scratch}/users"', *listen]
        lines += [f'certificate = "{pair[0]}"', f'key = "{pair[1]}"'] if tls else []
        daemon = make_nullmta(postfix.port, listen="\n".join(lines))
        add(daemon)
        return daemon.start() if start else daemon

    return make


def trusting(authority):
    return ssl.create_default_context(cafile=authority.ca_file)


class UnixSMTP(smtplib.SMTP):
    """smtplib on a unix socket."""

    def __init__(self, path):
        self.path = path
        super().__init__("localhost", 25, timeout=60)

    def _get_socket(self, host, port, timeout):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        connection.connect(str(self.path))
        return connection


def mechanisms(client):
    client.ehlo()
    return client.esmtp_features.get("auth", "").split()


def test_each_way_in_is_offered_what_shows_no_password(with_users, authority):
    daemon = with_users()
    with daemon.client() as client:
        assert mechanisms(client) == ["SCRAM-SHA-256"]
        assert client.docmd("AUTH", "PLAIN AGEAYg==")[0] == 538
        client.starttls(context=trusting(authority))
        assert mechanisms(client) == ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"]
    older = trusting(authority)
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    with daemon.client() as client:
        client.starttls(context=older)
        assert mechanisms(client) == ["SCRAM-SHA-256", "PLAIN", "LOGIN"]
    with UnixSMTP(daemon.socket) as client:
        assert mechanisms(client) == ["SCRAM-SHA-256", "PLAIN", "LOGIN"]


def test_nothing_is_offered_without_users(nullmta):
    with nullmta.client() as client:
        assert mechanisms(client) == []
        assert client.docmd("AUTH", "PLAIN AGEAYg==")[0] == 502


def received(message):
    (own,) = [text for name, text in split(message)[0] if name == b"received" and b"by client.nullmta.test (nullmta)" in text]
    return b" ".join(own.split()).decode()


# Programs: each with the mechanism that it is told to use. They send one message and give their exit code and output.


def by_smtplib(daemon, authority, mechanism, way, name, password):
    client = UnixSMTP(daemon.socket) if way == "unix" else daemon.client()
    with client:
        if way == "starttls":
            client.starttls(context=trusting(authority))
        client.ehlo()
        client.user, client.password = name, password
        try:
            # smtplib knows only ASCII by itself.
            secret = password.encode()
            if mechanism == "PLAIN":
                token = base64.b64encode(b"\0" + name.encode() + b"\0" + secret).decode()
                code, said = client.docmd("AUTH", "PLAIN " + token)
            else:
                client.docmd("AUTH", "LOGIN " + base64.b64encode(name.encode()).decode())
                code, said = client.docmd(base64.b64encode(secret).decode())
            if code != 235:
                return 1, f"{code} {said}"
            submit(client, SENT)
            return 0, ""
        except (smtplib.SMTPException, AssertionError) as error:
            return 1, str(error)


def run(*command, **options):
    options.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60, **options)
    return done.returncode, done.stdout + done.stderr


def by_swaks(daemon, authority, mechanism, way, name, password):
    server = ["--socket", daemon.socket] if way == "unix" else ["--server", f"127.0.0.1:{daemon.port}"]
    tls = ["--tls", "--tls-verify", "--tls-ca-path", authority.ca_file] if way == "starttls" else []
    return run(
        "swaks", *server, *tls, "--from", "ann@example.org", "--to", "bob@example.net", "--auth", mechanism,
        "--auth-user", name, "--auth-password", password,
    )


def by_curl(daemon, authority, mechanism, way, name, password):
    tls = ["--ssl-reqd", "--cacert", authority.ca_file] if way == "starttls" else []
    message = daemon.base / "message"
    message.write_bytes(SENT)
    return run(
        "curl", "-sv", f"smtp://localhost:{daemon.port}", *tls, "--login-options", f"AUTH={mechanism}",
        "--user", f"{name}:{password}", "--mail-from", "ann@example.org", "--mail-rcpt", "bob@example.net",
        "--upload-file", message,
    )


NODEMAILER = """
const transport = require("nodemailer").createTransport({
    host: "localhost", port: process.env.PORT, requireTLS: process.env.WAY === "starttls",
    ignoreTLS: process.env.WAY !== "starttls", authMethod: process.env.MECHANISM,
    auth: {user: process.env.NAME, pass: process.env.PASSWORD},
});
transport.sendMail({from: "ann@example.org", to: "bob@example.net", subject: "hello", text: "Hello."},
    (error) => { if (error) { console.error(error); process.exit(75); } });
"""


def by_nodemailer(daemon, authority, mechanism, way, name, password):
    environment = dict(
        os.environ, NODE_PATH=os.environ.get("NODE_PATH", "/usr/share/nodejs:/usr/lib/node_modules:/usr/local/lib/node_modules"),
        PORT=str(daemon.port), WAY=way, MECHANISM=mechanism, NAME=name, PASSWORD=password,
        NODE_EXTRA_CA_CERTS=str(authority.ca_file),
    )
    return run("node", "-e", NODEMAILER, env=environment)


def by_msmtp(daemon, authority, mechanism, way, name, password):
    tls = [f"--tls-trust-file={authority.ca_file}", "--tls=on", "--tls-starttls=on"] if way == "starttls" else ["--tls=off"]
    secret = daemon.base / "msmtp.secret"
    secret.write_text(password + "\n")
    return run(
        "msmtp", "--host=localhost", f"--port={daemon.port}", f"--auth={mechanism.lower()}", f"--user={name}",
        f"--passwordeval=cat {secret}", *tls, "--from=ann@example.org", "bob@example.net",
        stdin=None, input=SENT.decode(),
    )


def environment_of(daemon, authority, mechanism, way, name, password):
    return dict(
        os.environ, PORT=str(daemon.port), WAY=way, MECHANISM=mechanism, NAME=name, PASSWORD=password,
        CA=str(authority.ca_file), SSL_CERT_FILE=str(authority.ca_file), HOME=str(daemon.base),
        GOCACHE=str(daemon.base.parent.parent / "go-cache"), GO111MODULE="off",
        EMAIL="ann@example.org", GIT_AUTHOR_NAME="Ann", GIT_COMMITTER_NAME="Ann",
    )


PHPMAILER = """
require "libphp-phpmailer/autoload.php";
$mail = new PHPMailer\\PHPMailer\\PHPMailer(true);
$mail->isSMTP(); $mail->Host = "localhost"; $mail->Port = getenv("PORT"); $mail->SMTPAuth = true;
$mail->AuthType = getenv("MECHANISM"); $mail->Username = getenv("NAME"); $mail->Password = getenv("PASSWORD");
$mail->SMTPSecure = getenv("WAY") === "starttls" ? "tls" : ""; $mail->SMTPAutoTLS = false;
$mail->SMTPOptions = ["ssl" => ["cafile" => getenv("CA")]];
$mail->setFrom("ann@example.org"); $mail->addAddress("bob@example.net"); $mail->Subject = "hello"; $mail->Body = "Hello.";
$mail->send();
"""


def by_phpmailer(*how):
    return run("php", "-r", PHPMAILER, env=environment_of(*how))


SYMFONY = """
require "Symfony/Component/Mailer/autoload.php";
$login = rawurlencode(getenv("NAME")) . ":" . rawurlencode(getenv("PASSWORD"));
$transport = Symfony\\Component\\Mailer\\Transport::fromDsn("smtp://$login@localhost:" . getenv("PORT"));
$message = new Symfony\\Component\\Mime\\Email();
$message->from("ann@example.org")->to("bob@example.net")->subject("hello")->text("Hello.");
(new Symfony\\Component\\Mailer\\Mailer($transport))->send($message);
"""


def by_symfony(*how):
    """It takes TLS where it is offered, and the mechanism itself."""
    return run("php", "-d", f"openssl.cafile={how[1].ca_file}", "-r", SYMFONY, env=environment_of(*how))


PERL = """
use Net::SMTP; use Authen::SASL;
my $client = Net::SMTP->new("localhost", Port => $ENV{PORT}, Timeout => 30) or die "no connection";
if ($ENV{WAY} eq "starttls") { $client->starttls(SSL_ca_file => $ENV{CA}) or die "no TLS: " . $client->message; }
my $sasl = Authen::SASL->new(mechanism => $ENV{MECHANISM}, callback => { user => $ENV{NAME}, pass => $ENV{PASSWORD} });
$client->auth($sasl) or die "no login: " . $client->message;
$client->mail("ann\\@example.org") && $client->to("bob\\@example.net") && $client->data("From: ann\\@example.org\\n", "Subject: hello\\n\\nHello.\\n")
    or die "no mail: " . $client->message;
$client->quit;
"""


def by_perl(*how):
    return run("perl", "-e", PERL.replace("\\\\", "\\"), env=environment_of(*how))


RUBY = """
require "net/smtp"
client = Net::SMTP.new("localhost", ENV["PORT"].to_i)
if ENV["WAY"] == "starttls"
  context = OpenSSL::SSL::SSLContext.new
  context.set_params(ca_file: ENV["CA"])
  client.enable_starttls(context)
else
  client.disable_starttls
end
client.start("client.example", ENV["NAME"], ENV["PASSWORD"], ENV["MECHANISM"].downcase.to_sym) do |session|
  session.send_message("From: ann@example.org\\nSubject: hello\\n\\nHello.\\n", "ann@example.org", "bob@example.net")
end
"""


def by_ruby(*how):
    """What Rails sends with."""
    return run("ruby", "-e", RUBY, env=environment_of(*how))


GO = """
package main

import (
	"fmt"
	"net/smtp"
	"os"
)

func main() {
	auth := smtp.PlainAuth("", os.Getenv("NAME"), os.Getenv("PASSWORD"), "localhost")
	message := []byte("From: ann@example.org\\r\\nSubject: hello\\r\\n\\r\\nHello.\\r\\n")
	err := smtp.SendMail("localhost:"+os.Getenv("PORT"), auth, "ann@example.org", []string{"bob@example.net"}, message)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
"""


def by_go(*how):
    """It takes TLS where it is offered, and shows a password to localhost without."""
    program = how[0].base / "send.go"
    program.write_text(GO)
    return run("go", "run", program, env=environment_of(*how))


def by_git(daemon, authority, mechanism, way, name, password):
    patch = daemon.base / "hello.patch"
    patch.write_text("From: Ann <ann@example.org>\nSubject: [PATCH] hello\n\nHello.\n")
    tls = ["--smtp-encryption=tls", f"--smtp-ssl-cert-path={authority.ca_file}"] if way == "starttls" else []
    return run(
        "git", "send-email", "--quiet", "--confirm=never", "--suppress-cc=all", "--smtp-server=localhost",
        f"--smtp-server-port={daemon.port}", *tls, f"--smtp-auth={mechanism}", f"--smtp-user={name}",
        f"--smtp-pass={password}", "--from=ann@example.org", "--to=bob@example.net", patch,
        env=environment_of(daemon, authority, mechanism, way, name, password), cwd=daemon.base,
    )


PROGRAMS = {
    "PHPMailer": (by_phpmailer, ["PLAIN", "LOGIN"], ["starttls"]),
    "Symfony": (by_symfony, ["LOGIN"], ["starttls"]),
    "Perl": (by_perl, ["PLAIN", "LOGIN"], ["starttls"]),
    "Ruby": (by_ruby, ["PLAIN", "LOGIN"], ["starttls"]),
    "Go": (by_go, ["PLAIN"], ["starttls"]),
    "git send-email": (by_git, ["PLAIN", "LOGIN"], ["starttls"]),
    "smtplib": (by_smtplib, ["PLAIN", "LOGIN"], ["starttls", "unix"]),
    "swaks": (by_swaks, ["PLAIN", "LOGIN"], ["starttls", "unix"]),
    "curl": (by_curl, ["PLAIN", "LOGIN"], ["starttls"]),
    "nodemailer": (by_nodemailer, ["PLAIN", "LOGIN"], ["starttls"]),
    "msmtp": (by_msmtp, ["PLAIN", "LOGIN", "SCRAM-SHA-256"], ["starttls"]),
}
CASES = [
    (name, mechanism, way)
    for name, (_, known, ways) in PROGRAMS.items()
    for mechanism in known
    for way in ways
] + [("msmtp", "SCRAM-SHA-256", "tcp")]
each = pytest.mark.parametrize("program, mechanism, way", CASES, ids=["-".join(case) for case in CASES])


@each
def test_a_program_logs_in_with_the_right_password_only(with_users, postfix, authority, program, mechanism, way):
    daemon = with_users("require-auth = true")
    send = PROGRAMS[program][0]
    code, said = send(daemon, authority, mechanism, way, "shop", PASSWORD)
    assert code == 0, said
    (message,) = postfix.wait_for(1)
    # Go always declares SMTPUTF8 (RFC 6531 4.3).
    protocol = "SMTPSA" if way == "starttls" else "SMTPA"
    assert re.search(rf"with (E|UTF8){protocol} id", received(message))
    client = r"uid 0 \(root\)" if way == "unix" else r"localhost\[127\.0\.0\.1\] uid 0 \(root\)"
    daemon.wait_for_log(
        rf": client={client}, sasl_method={mechanism}, sasl_username=shop, from=<ann@example.org>,.*\(queued\)"
    )
    daemon.wait_for_log(rf"login: .*uid 0, sasl_method={mechanism}, sasl_username=shop\n")
    for name, password, why in [("shop", "wrong", "wrong password"), ("nobody", PASSWORD, "unknown user")]:
        code, said = send(daemon, authority, mechanism, way, name, password)
        assert code != 0, said
        daemon.wait_for_log(rf"login failed: .*uid 0, sasl_method={mechanism}, sasl_username={name}: {why}\n")
    assert daemon.log().count("(queued)") == 1
    for secret in (PASSWORD, "wrong\n", base64.b64encode(PASSWORD.encode()).decode()):
        assert secret not in daemon.log()


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"])
def test_nullmta_is_its_own_client(with_users, postfix, authority, mechanism):
    """The one client here that binds a login to TLS: a daemon whose relay is another one."""
    server = with_users("require-auth = true")
    sender = Nullmta(
        server.base / "client", server.port, authority.ca_file, "client.nullmta.test", "shop", PASSWORD,
        auth=f'mechanisms = "{mechanism}"',
    )
    try:
        sender.start()
        sender.send(SENT)
        postfix.wait_for(1)
        server.wait_for_log(rf"sasl_method={mechanism}, sasl_username=shop, from=<ann@example.org>")
    finally:
        sender.stop()


def test_the_unix_socket_and_sendmail_need_no_login(with_users, postfix):
    daemon = with_users("require-auth = true")
    with daemon.client() as client:
        client.ehlo()
        code, said = client.mail("ann@example.org")
        assert code == 530 and b"5.7.0" in said
    done = subprocess.run(
        [str(binary()), "sendmail", "-C", str(daemon.config), "-i", "-f", "ann@example.org", "bob@example.net"],
        input=SENT, capture_output=True, timeout=60,
    )
    assert done.returncode == 0, done.stderr
    postfix.wait_for(1)


ANY = [(name, mechanism) for name, (_, known, _) in PROGRAMS.items() for mechanism in known if mechanism in ("PLAIN", "LOGIN")]


@pytest.mark.parametrize("program, mechanism", ANY, ids=["-".join(case) for case in ANY])
def test_any_login_is_taken_from_programs_that_insist_on_one(make_nullmta, postfix, authority, program, mechanism):
    daemon = make_nullmta(postfix.port, listen="accept-any = true\nrequire-auth = true").start()
    code, said = PROGRAMS[program][0](daemon, authority, mechanism, "tcp", "whoever", "whatever")
    assert code == 0, said
    (message,) = postfix.wait_for(1)
    assert re.search(r"with (E|UTF8)SMTPA id", received(message))
    daemon.wait_for_log(rf"sasl_method={mechanism}, sasl_username=whoever, from=<ann@example.org>")
    assert "whatever" not in daemon.log()
    said = daemon.command("check")
    assert "any name and any password is taken as a login, and proves nothing (listen.accept-any)" in said


def test_a_change_of_the_users_counts_without_a_reload(with_users, authority, scratch):
    daemon = with_users()

    def logs_in(name, password):
        return by_smtplib(daemon, authority, "PLAIN", "starttls", name, password)[0] == 0

    assert logs_in("shop", PASSWORD)
    assert user(daemon, "passwd", "shop", password="another").returncode == 0
    assert logs_in("shop", "another") and not logs_in("shop", PASSWORD)
    add(daemon, "news", "s3cret", "--reverse-path", "@example.org", "--from-domain", "example.org")
    assert logs_in("news", "s3cret")
    listed = user(daemon, "list", "--json").stdout.splitlines()
    assert [json.loads(line)["name"] for line in listed] == ["shop", "news"]
    assert json.loads(listed[1])["reverse-paths"] == ["@example.org"]
    users = scratch / "users"
    assert "s3cret" not in users.read_text() and users.stat().st_mode & 0o777 == 0o600
    assert user(daemon, "delete", "shop").returncode == 0
    assert not logs_in("shop", "another")
    # A broken file leaves those of before in force, and everybody who looks is told.
    before = users.read_text()
    users.write_text("[[user]]\nname = 1\n")
    assert logs_in("news", "s3cret")
    daemon.wait_for_log(r"listen\.users-file: .*:2: key `user\[1\]\.name`: .*; the users of before stay in force")
    wait_until(lambda: daemon.status()["users-trouble"], 10, lambda: daemon.status())
    assert "stay in force" in daemon.command("status")
    done = daemon.try_command("check")
    assert done.returncode == 0 and "warning: listen.users-file:" in done.stderr
    users.write_text(before)
    assert logs_in("news", "s3cret")
    daemon.wait_for_log("were read again: 1 user in force")


def test_without_the_file_mail_goes_on_and_nobody_logs_in(make_nullmta, postfix, authority, scratch, pair):
    listen = f'users-file = "{scratch}/none"\ncertificate = "{pair[0]}"\nkey = "{pair[1]}"'
    daemon = make_nullmta(postfix.port, listen=listen).start()
    daemon.wait_for_log("listen.users-file: cannot read .*/none: No such file.*nobody can log in")
    code, said = by_smtplib(daemon, authority, "PLAIN", "starttls", "shop", PASSWORD)
    assert code == 1 and "454" in said
    daemon.send(SENT)
    postfix.wait_for(1)
    (scratch / "none").write_text("")
    (scratch / "none").chmod(0o644)
    daemon.wait_for_log("none is open to others than its owner.*chmod 600")


def test_the_command_keeps_to_its_codes_and_shows_no_password(with_users):
    daemon = with_users(start=False)
    assert user(daemon, "verify", "shop", password=PASSWORD).returncode == 0
    wrong = user(daemon, "verify", "shop", password="wrong")
    assert (wrong.returncode, "wrong" in wrong.stderr) == (1, False), wrong
    for command in ("verify", "passwd", "delete"):
        done = user(daemon, command, "nobody", password="x")
        assert done.returncode == 1 and "there is no user" in done.stderr, done
    again = user(daemon, "add", "shop", password="x")
    assert again.returncode == 1 and "nullmta user passwd" in again.stderr
    assert user(daemon, "add", "a b", password="x").returncode == 64
    assert user(daemon, "add", "news", "--from-domain", "@x", password="x").returncode == 64
    assert user(daemon, "add", "news", password="").returncode == 65


def test_a_password_on_a_terminal_is_asked_for_twice_and_not_shown(with_users):
    daemon = with_users(start=False)

    def on_a_terminal(*answers):
        parent, child = pty.openpty()
        process = subprocess.Popen(
            [str(binary()), "user", "passwd", "-c", str(daemon.config), "shop"], stdin=child, stdout=child, stderr=child,
            start_new_session=True,
        )
        os.close(child)
        seen = b""
        for question, answer in zip((b"New password of shop: ", b"The same again: "), answers):
            while question not in seen:
                seen += os.read(parent, 1000)
            os.write(parent, answer)
        code = process.wait(timeout=60)
        while True:
            try:
                seen += os.read(parent, 1000)
            except OSError:
                break
        os.close(parent)
        return code, seen

    code, seen = on_a_terminal(b"sesame\r", b"sesame\r")
    assert code == 0 and b"sesame" not in seen, seen
    assert user(daemon, "verify", "shop", password="sesame").returncode == 0
    assert on_a_terminal(b"one\r", b"other\r")[0] == 1
    assert on_a_terminal(b"one\x03")[0] == 74
    assert user(daemon, "verify", "shop", password="sesame").returncode == 0


# TLS from the first octet.


@pytest.fixture
def implicit(with_users):
    """A daemon with an address for TLS from the first octet; the port is `tls_port`."""
    port = free_port()
    daemon = with_users(f'tls-addresses = "127.0.0.1:{port}"', "require-auth = true")
    daemon.tls_port = port
    return daemon


def test_smtplib_begins_with_tls(implicit, postfix, authority):
    with smtplib.SMTP_SSL("127.0.0.1", implicit.tls_port, timeout=60, context=trusting(authority)) as client:
        assert mechanisms(client) == ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"]
        assert not client.has_extn("starttls")
        token = base64.b64encode(f"\0shop\0{PASSWORD}".encode()).decode()
        assert client.docmd("AUTH", "PLAIN " + token)[0] == 235
        submit(client, SENT)
    (message,) = postfix.wait_for(1)
    assert "with ESMTPSA" in received(message) and "(using TLSv1.3)" in received(message)


@pytest.mark.parametrize("program", ["swaks", "curl", "msmtp"])
def test_programs_begin_with_tls(implicit, postfix, authority, program):
    message = implicit.base / "message"
    message.write_bytes(SENT)
    secret = implicit.base / "secret.msmtp"
    secret.write_text(PASSWORD + "\n")
    commands = {
        "swaks": ["swaks", "--server", f"127.0.0.1:{implicit.tls_port}", "--tlsc", "--tls-verify", "--tls-ca-path",
                  authority.ca_file, "--from", "ann@example.org", "--to", "bob@example.net", "--auth", "PLAIN",
                  "--auth-user", "shop", "--auth-password", PASSWORD],
        "curl": ["curl", "-sv", f"smtps://localhost:{implicit.tls_port}", "--cacert", authority.ca_file, "--user",
                 f"shop:{PASSWORD}", "--mail-from", "ann@example.org", "--mail-rcpt", "bob@example.net",
                 "--upload-file", message],
        "msmtp": ["msmtp", "--host=localhost", f"--port={implicit.tls_port}", "--auth=scram-sha-256", "--user=shop",
                  f"--passwordeval=cat {secret}", "--tls=on", "--tls-starttls=off",
                  f"--tls-trust-file={authority.ca_file}", "--from=ann@example.org", "bob@example.net"],
    }
    options = dict(stdin=None, input=SENT.decode()) if program == "msmtp" else {}
    code, said = run(*commands[program], **options)
    assert code == 0, said
    (delivered,) = postfix.wait_for(1)
    assert "with ESMTPSA" in received(delivered)


def test_plaintext_where_tls_is_expected_gets_nothing(implicit):
    with socket.create_connection(("127.0.0.1", implicit.tls_port), timeout=30) as connection:
        connection.sendall(b"EHLO app\r\n")
        said = b""
        try:
            while octets := connection.recv(1000):
                said += octets
        except ConnectionResetError:
            pass
    assert not said.startswith(b"220")
    implicit.wait_for_log("NOQUEUE: TLS handshake failed from localhost")


def test_systemd_may_pass_the_socket(with_users, postfix, authority):
    """Two socket units: the one whose descriptors are called `smtps` is for TLS."""
    daemon = with_users("require-auth = true", start=False)
    plain, tls = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
    # The daemon gets them as descriptors 3 and 4, and LISTEN_PID must be its own pid.
    script = 'exec 3<&"$1" 4<&"$2"; LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=nullmta.socket:smtps exec "$3" run -c "$4"'
    daemon.port = plain.getsockname()[1]
    with open(daemon.base / "daemon.log", "ab") as log:
        daemon.process = subprocess.Popen(
            ["bash", "-c", script, "bash", str(plain.fileno()), str(tls.fileno()), str(binary()), str(daemon.config)],
            pass_fds=(plain.fileno(), tls.fileno()), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )
    daemon.wait_for_log("nullmta .*started|listening|ready")
    with smtplib.SMTP_SSL("127.0.0.1", tls.getsockname()[1], timeout=60, context=trusting(authority)) as client:
        assert "PLAIN" in mechanisms(client)
    with daemon.client() as client:
        assert mechanisms(client) == ["SCRAM-SHA-256"]
    plain.close()
    tls.close()


# As whom a user may send.


@pytest.mark.parametrize("program", ["smtplib", "swaks", "curl", "nodemailer", "msmtp"])
def test_a_user_sends_only_as_whom_it_may(with_users, postfix, authority, program):
    daemon = with_users()
    send = PROGRAMS[program][0]
    add(daemon, "news", "s3cret", "--reverse-path", "@news.example")
    add(daemon, "ann", "s3cret", "--from-domain", "other.example")
    add(daemon, "both", "s3cret", "--reverse-path", "ann@example.org", "--from-domain", "example.org")
    for name, said in [
        ("news", "550 5.7.1 user news may not send as <ann@example.org> (MAIL FROM), only as @news.example"),
        ("ann", "550 5.7.1 user ann may not send as <ann@example.org> (From), only as @other.example"),
    ]:
        code, output = send(daemon, authority, "PLAIN", "starttls", name, "s3cret")
        assert code != 0, output
        daemon.wait_for_log(r"NOQUEUE: reject: (MAIL|END-OF-MESSAGE) from localhost.*: " + re.escape(said))
    assert "(queued)" not in daemon.log()
    code, output = send(daemon, authority, "PLAIN", "starttls", "both", "s3cret")
    assert code == 0, output
    postfix.wait_for(1)
