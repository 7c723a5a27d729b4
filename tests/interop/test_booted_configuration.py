"""A configuration that is wrong, on a host that a real systemd has booted: who is told, and what becomes of the mail."""

import pytest

from installed import CONFIG
from waiting import wait_until

MESSAGE = "Subject: %s\n\nhello\n"
UNKNOWN_KEY = CONFIG + "[queue]\nlifetim = \"1d\"\n"

# Prints what it is told first.
CLIENT = """\
import socket
with socket.create_connection(("127.0.0.1", 25), timeout=60) as client:
    print(client.makefile("rb").readline().decode(), end="")
"""


def restart_in_vain(installed):
    assert installed.run("systemctl restart nullmta").returncode != 0
    assert installed.must("systemctl is-active nullmta.socket").strip() == "active"


@pytest.mark.parametrize(
    "config, status",
    [
        (UNKNOWN_KEY, "4.3.5"),
        # Not to be read at all, but for where the spool is.
        (CONFIG.replace('[auth]', '[auth'), "4.3.5"),
        # Right in itself.
        (CONFIG.replace("/etc/nullmta.secret", "/etc/nothing"), "4.3.5"),
    ],
    ids=["unknown key", "no TOML", "no secret"],
)
def test_while_the_daemon_cannot_start_callers_get_an_answer(installed, config, status):
    """systemd held the sockets, the kernel accepted, and nobody answered: SMTP clients hung until their own patience
    ended, and `sendmail` exited with 75, so that cron's mail was gone."""
    installed.configure(config)
    restart_in_vain(installed)
    client = installed.client(CLIENT)
    told, trouble = client.communicate(timeout=60)
    assert told.startswith(f"421 {status} nullmta cannot start: "), told + trouble
    installed.must("sendmail", "-i", "you@example.com", text=MESSAGE % "dropped", user="nobody", seconds=30)
    assert len(list(installed.path("/var/spool/nullmta/drop").iterdir())) == 1
    # Nobody starts it by hand: systemd goes on trying.
    installed.configure(CONFIG)
    installed.wait_until_up()
    (message,) = installed.wait_for(1)
    assert b"Subject: dropped" in message


def test_a_spool_that_is_not_the_daemon_s_is_told_with_its_remedy(installed):
    installed.must("chown -R root:root /var/spool/nullmta")
    restart_in_vain(installed)
    told, trouble = installed.client(CLIENT).communicate(timeout=60)
    assert told.startswith("421 4.3.0 nullmta cannot start: its log says why"), told + trouble
    (remedy,) = {line[line.index("chown") :] for line in installed.journal().splitlines() if "chown" in line}
    installed.must(remedy)
    installed.wait_until_up()


def test_a_refused_reload_fails_and_is_shown(installed):
    """`systemctl reload` said success, and the old configuration stayed in force for ever."""
    before = installed.must("nullmta status")
    installed.configure(UNKNOWN_KEY)
    done = installed.run("systemctl reload nullmta")
    assert done.returncode != 0 and "failed" in done.stderr, done
    assert "configuration not reloaded, that of" in installed.journal()
    (in_force,) = [line for line in before.splitlines() if line.startswith("config")]
    status = installed.must("nullmta status")
    assert in_force in status and "/etc/nullmta.toml:" in status and "lifetim" in status, status
    assert installed.must("systemctl is-active nullmta.service").strip() == "active"
    installed.configure(CONFIG + '[queue]\nlifetime = "1d"\n')
    installed.must("systemctl reload nullmta")
    assert "changed: queue.lifetime" in installed.journal()
    assert "lifetim`" not in installed.must("nullmta status")


def test_three_lines_start_with_the_warnings_that_the_first_mail_needs(installed):
    """The first day's mail was lost at each provider: root@vm was refused as a sender, and the bounce, too."""
    installed.configure(
        'relayhost = "smtp.sendgrid.net:587"\nauth.username = "apikey"\nauth.password-file = "/etc/nullmta.secret"\n'
    )
    installed.must("systemctl restart nullmta")
    warnings = ("smtp.sendgrid.net takes mail from senders that it knows", "mail for root, from cron and others, goes to")
    for warning in warnings:
        assert warning in installed.journal()
    done = installed.run("nullmta check")
    assert done.returncode == 0 and all(warning in done.stderr for warning in warnings), done
    assert installed.run("nullmta check --strict").returncode == 1
    # A name server is asked beside the start, and cannot be reached.
    wait_until(lambda: "smtp.sendgrid.net cannot be looked up" in installed.journal(), 60, "what a name server says")


def test_addresses_that_have_no_effect_are_named(installed):
    installed.configure(CONFIG + '[listen]\naddresses = ["127.0.0.1:2526"]\n')
    installed.must("systemctl restart nullmta")
    journal = installed.journal()
    assert "listen.addresses has no effect: systemd passes the sockets, which are 127.0.0.1:25, [::1]:25" in journal
    assert "; without effect, since systemd passes the sockets: listen.addresses" in installed.must("nullmta status")
    started = "relay 127.0.0.1:2525, listening on 127.0.0.1:25, [::1]:25, /run/nullmta/submit.sock, spool /var/spool/nullmta"
    assert f"started as web1.example.com: nullmta 0.1.0, {started}" in journal


def test_a_relay_that_is_our_own_listener_is_refused(installed):
    """The parser knew `listen.addresses` alone: each message went round fifty times."""
    circle = CONFIG.replace("127.0.0.1:2525", "127.0.0.1:25") + '[listen]\naddresses = ["127.0.0.1:2526"]\n'
    installed.configure(circle)
    done = installed.run("nullmta reload")
    assert done.returncode == 78 and "127.0.0.1:25 is where nullmta listens itself" in done.stderr, done
    restart_in_vain(installed)
    assert "127.0.0.1:25 is where nullmta listens itself" in installed.journal()


def test_what_a_reload_cannot_change_is_shown_until_a_restart(installed):
    """`status` said that all of the new file was in force."""
    installed.configure(CONFIG + '[log]\nformat = "json"\n')
    told = "; not in force before a restart: log.format"
    assert told in installed.must("nullmta reload")
    assert told in installed.must("nullmta status")
    installed.must("systemctl restart nullmta")
    assert told not in installed.must("nullmta status")


def test_check_sees_what_the_daemon_would(installed):
    """As root it passed files that the daemon cannot read, and the service did not start."""
    installed.must("chown root /etc/nullmta.secret")
    done = installed.run("nullmta check")
    assert done.returncode == 78, done
    assert "/etc/nullmta.secret" in done.stderr and "(looked at as the service's user, nullmta)" in done.stderr, done
    assert installed.run("systemctl restart nullmta").returncode != 0
    installed.must("chown nullmta /etc/nullmta.secret")
    installed.must("cp /var/lib/sink/ca.pem /tmp/ca.pem")
    installed.configure(CONFIG.replace("/var/lib/sink/ca.pem", "/tmp/ca.pem"))
    done = installed.run("nullmta check")
    assert "/tmp/ca.pem is hidden from the service: PrivateTmp=" in done.stderr, done
    assert installed.run("nullmta check --strict").returncode == 1
    assert installed.run("systemctl restart nullmta").returncode != 0


def test_check_sees_a_spool_and_a_program_that_the_daemon_cannot_use(installed):
    """A spool of root's, one that the unit has read-only, and a program that root alone may run passed as well."""
    installed.must("systemctl stop nullmta.socket nullmta.service && chown -R root:root /var/spool/nullmta/log")
    done = installed.run("nullmta check")
    assert done.returncode == 73 and "cannot write to /var/spool/nullmta/log: chown -R nullmta" in done.stderr, done
    installed.must("chown -R nullmta:nullmta /var/spool/nullmta && nullmta check --strict")
    # As a file system of its own has it: nothing of the spool's.
    installed.must("mkdir -m 0700 /var/spool/nullmta/lost+found && nullmta check --strict")
    installed.must("rmdir /var/spool/nullmta/lost+found")
    installed.configure('spool = "/srv/spool"\n' + CONFIG)
    done = installed.run("nullmta check")
    assert done.returncode == 73, done
    (remedy,) = [line[line.index("install -d") :].split(" (")[0] for line in done.stderr.splitlines() if "install -d" in line]
    installed.must(remedy)
    assert installed.run("nullmta check --strict").returncode == 1
    installed.write("/etc/systemd/system/nullmta.service.d/spool.conf", "[Service]\nReadWritePaths=/srv/spool\n")
    try:
        installed.must("systemctl daemon-reload && nullmta check --strict && systemctl start nullmta.socket nullmta.service")
    finally:
        installed.path("/etc/systemd/system/nullmta.service.d/spool.conf").unlink()
        installed.must("systemctl stop nullmta.socket nullmta.service && systemctl daemon-reload")
    installed.write("/usr/local/bin/secret", "#!/bin/sh\necho sinkpass\n")
    installed.path("/usr/local/bin/secret").chmod(0o700)
    installed.configure(CONFIG.replace('password-file = "/etc/nullmta.secret"', 'password-command = ["/usr/local/bin/secret"]'))
    done = installed.run("nullmta check")
    assert done.returncode == 78 and "cannot run /usr/local/bin/secret: Permission denied" in done.stderr, done


def test_check_asks_the_unit_for_credential_and_spool(installed):
    """A credential that the unit does not load passed in silence, and a spool that it makes itself was refused."""
    drop_in = "/etc/systemd/system/nullmta.service.d/made.conf"
    credential = CONFIG.replace('password-file = "/etc/nullmta.secret"', 'credential = "relay"')
    installed.configure('spool = "/var/lib/nullmta"\n' + credential)
    assert installed.run("nullmta check").returncode == 73
    try:
        installed.write(drop_in, "[Service]\nStateDirectory=nullmta\n")
        installed.must("systemctl daemon-reload")
        done = installed.run("nullmta check")
        assert done.returncode == 0 and "auth.credential: the unit has no credential relay" in done.stderr, done
        installed.write(drop_in, "[Service]\nStateDirectory=nullmta\nLoadCredential=relay:/etc/relay.secret\n")
        installed.must("systemctl daemon-reload")
        done = installed.run("nullmta check")
        assert "auth.credential: cannot read /etc/relay.secret" in done.stderr and "loads the credential relay from there" in done.stderr, done
        installed.must("install -m 600 /etc/nullmta.secret /etc/relay.secret && nullmta check --strict")
        installed.must("systemctl restart nullmta && nullmta check --strict")
    finally:
        installed.path(drop_in).unlink()
        installed.must("systemctl stop nullmta.socket nullmta.service && systemctl daemon-reload")


def test_a_password_that_everybody_may_read_is_refused_by_the_daemon_as_well(installed):
    """Its unit has every mount read-only for it, which it took for a secret mounted so: `check` refused the file, and the
    daemon used it."""
    installed.must("chmod 644 /etc/nullmta.secret")
    for command in ("nullmta check", "nullmta reload"):
        done = installed.run(command)
        assert done.returncode == 78 and "is open to others than its owner" in done.stderr, done
    installed.must("mkdir -p /mnt/secret && mount -t tmpfs tmpfs /mnt/secret && cp -p /etc/nullmta.secret /mnt/secret/given")
    try:
        installed.must("mount -o remount,ro /mnt/secret")
        installed.configure(CONFIG.replace("/etc/nullmta.secret", "/mnt/secret/given"))
        warning = "every user of this host can read /mnt/secret/given"
        assert warning in installed.run("nullmta check").stderr
        installed.must("systemctl restart nullmta")
        assert warning in installed.journal()
    finally:
        installed.must("umount -l /mnt/secret; chmod 600 /etc/nullmta.secret")


def test_root_is_told_to_start_the_service(installed):
    """`sudo nullmta run` left a spool that the service could not open."""
    installed.must("systemctl stop nullmta.socket nullmta.service && rm -rf /var/spool/nullmta")
    done = installed.run("nullmta", "run", seconds=20)
    assert done.returncode == 77 and "systemctl start nullmta" in done.stderr, done
    assert not installed.path("/var/spool/nullmta").exists()


def test_an_imported_secret_is_the_daemon_s(installed):
    installed.write(
        "/etc/postfix/main.cf",
        "relayhost = [127.0.0.1]:2525\nsmtp_sasl_auth_enable = yes\nsmtp_sasl_password_maps = hash:/etc/postfix/sasl_passwd\n"
        "smtp_tls_security_level = secure\nsmtp_tls_CAfile = /var/lib/sink/ca.pem\n",
    )
    installed.write("/etc/postfix/sasl_passwd", "[127.0.0.1]:2525 apikey:sinkpass\n")
    installed.must("rm -f /etc/imported.toml /etc/imported.secret")
    installed.must("nullmta import-postfix -o /etc/imported.toml --secret-file /etc/imported.secret")
    assert installed.must("stat -c '%U %a' /etc/imported.secret").split() == ["nullmta", "600"]
    installed.must("nullmta check -c /etc/imported.toml")
