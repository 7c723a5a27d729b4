"""What one user of a booted host may take from the others: places of the control socket, and memory."""

import re

from waiting import wait_until

# Gives the daemon many large headers at once, and then ends all messages: how many were taken and how many refused.
LARGE_HEADERS = """\
import smtplib
header = b"Subject: x\\r\\n" + b"".join(b"X-F%06d: " % number + b"y" * 980 + b"\\r\\n" for number in range(1000))
clients = [smtplib.SMTP("127.0.0.1", 25, timeout=60) for _ in range(150)]
for client in clients:
    client.ehlo()
    client.mail("ann@example.com")
    client.rcpt("bob@example.net")
    client.docmd("DATA")
    client.send(header)
for client in clients:
    client.send(b"\\r\\nx\\r\\n.\\r\\n")
codes = [client.getreply()[0] for client in clients]
assert set(codes) <= {250, 452}, codes
print(codes.count(250), codes.count(452))
"""

# Takes places of the control socket until it is told to go.
OPERATORS = """\
use strict;
use Socket;
my @held;
for (1 .. 100) {
    socket(my $client, PF_UNIX, SOCK_STREAM, 0) or die $!;
    connect($client, sockaddr_un("/run/nullmta/control.sock")) or die $!;
    push @held, $client;
}
$| = 1;
print "held\\n";
<STDIN>;
"""

# Hands in a message over TCP, with no more than a booted host has.
OVER_TCP = """\
use strict;
use Socket;
socket(my $daemon, PF_INET, SOCK_STREAM, 0) or die $!;
connect($daemon, sockaddr_in(25, inet_aton("127.0.0.1"))) or die $!;
select((select($daemon), $| = 1)[0]);
for my $said ("", "HELO c\\r\\n", "MAIL FROM:<ann\\@example.com>\\r\\n", "RCPT TO:<bob\\@example.net>\\r\\n", "DATA\\r\\n", "\\r\\nx\\r\\n.\\r\\n") {
    print $daemon $said;
    my $reply = <$daemon>;
    die $reply unless $reply =~ /^[23]/;
}
"""


def anonymous_memory(host) -> int:
    """What the daemon has in memory that is in no file, in KiB."""
    pid = host.must("systemctl show --property MainPID --value nullmta.service").strip()
    return int(re.search(r"RssAnon:\s+(\d+) kB", host.must(f"cat /proc/{pid}/status")).group(1))


def test_memory_is_given_back(installed):
    """Large headers in many sessions took memory of which 35 MB were kept for ever."""
    client = installed.client(LARGE_HEADERS)
    said, trouble = client.communicate(timeout=300)
    assert client.returncode == 0, trouble
    taken, refused = map(int, said.split())
    assert taken > 0 and refused > 0, said
    installed.wait_for(taken, 120)
    wait_until(
        lambda: anonymous_memory(installed) < 24 * 1024, 60,
        lambda: f"less than 24 MiB; it has {anonymous_memory(installed)} KiB",
    )


def test_one_user_does_not_take_the_control_socket_from_others(installed):
    operators = installed.launch("perl", "-e", OPERATORS, user="nobody")
    assert operators.stdout.readline() == "held\n"
    try:
        installed.must("nullmta", "status")
        assert installed.must("mailq", user="daemon") == "Mail queue is empty\n"
        # Its own places are taken, which is no missing daemon.
        done = installed.run("mailq", user="nobody")
        assert done.returncode == 75 and "too many clients of the control socket" in done.stderr, done
    finally:
        operators.communicate("\n", timeout=60)


def test_the_service_knows_the_program_and_the_unit_of_a_client_of_the_socket(installed):
    command = "echo x | sendmail -i bob@example.net"
    installed.must(
        "systemd-run", "--wait", "--quiet", "--unit=report-job", "--uid=nobody", "sh", "-c", command
    )
    known = r"client=uid 65534 \(nobody\), .*, gid=\d+, pid=\d+, command=<sendmail>, unit=report-job\.service \(queued\)"
    wait_until(
        lambda: re.search(known, installed.journal()), 30, lambda: f"{known} in the journal:\n{installed.journal()}"
    )


def test_the_service_knows_whose_a_connection_over_tcp_is(installed):
    """Under all that the unit forbids, among it most kinds of sockets."""
    installed.must("perl", "-e", OVER_TCP, user="nobody")
    wait_until(
        lambda: "client=localhost[127.0.0.1] uid 65534 (nobody), from=" in installed.journal(), 30,
        lambda: f"the user in the journal:\n{installed.journal()}",
    )


def test_the_service_knows_it_as_well_where_the_kernel_may_not_be_asked(installed):
    """Then the kernel's table of sockets says it, which the unit must let the daemon read."""
    drop_in = "/etc/systemd/system/nullmta.service.d/no-netlink.conf"
    families = "RestrictAddressFamilies=\nRestrictAddressFamilies=AF_UNIX AF_INET AF_INET6\n"
    installed.write(drop_in, f"[Service]\n{families}")
    try:
        installed.must("systemctl daemon-reload && systemctl restart nullmta.service")
        installed.must("perl", "-e", OVER_TCP, user="nobody")
        wait_until(
            lambda: "client=localhost[127.0.0.1] uid 65534 (nobody), from=" in installed.journal(), 30,
            lambda: f"the user in the journal:\n{installed.journal()}",
        )
    finally:
        installed.path(drop_in).unlink()
        installed.must("systemctl daemon-reload")
