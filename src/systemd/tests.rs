use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::Command;

use rustix::io::{FdFlags, fcntl_getfd};
use tempfile::TempDir;

use super::*;

/// Set for a test that was started as a service; the others of them have nothing to test.
const SERVICE: &str = "NULLMTA_TEST_SERVICE";

/// This test program, to run its (ignored) test `name` as a service: its environment is its own.
fn service(name: &str) -> Vec<String> {
    let program = env::current_exe().unwrap().into_os_string().into_string().unwrap();
    let name = format!("systemd::tests::{name}");
    [&program, "--exact", &name, "--ignored", "--nocapture"].map(String::from).to_vec()
}

/// Runs `name` as systemd does, with `first` and `second` passed to it.
fn run_with_sockets(name: &str, first: impl Into<OwnedFd>, second: impl Into<OwnedFd>) {
    // The shell's process becomes the service, so its pid is the one to announce.
    let script = r#"LISTEN_PID=$$ LISTEN_FDS=2 exec "$@" 3<&0 4<&1 0</dev/null 1>&2"#;
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script, "sh"]).args(service(name)).stdin(first.into()).stdout(second.into());
    run(shell);
}

fn run(mut service: Command) {
    let output = service.env(SERVICE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn loopback() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn unix(directory: &TempDir) -> UnixListener {
    UnixListener::bind(directory.path().join("submit.sock")).unwrap()
}

#[test]
fn sockets_are_taken_over_and_sorted() {
    let directory = TempDir::new().unwrap();
    run_with_sockets("service_takes_its_sockets", loopback(), unix(&directory));
    let another = TempDir::new().unwrap();
    run_with_sockets("service_takes_its_sockets", unix(&another), loopback());
}

#[test]
#[ignore = "started by sockets_are_taken_over_and_sorted"]
fn service_takes_its_sockets() {
    if env::var_os(SERVICE).is_none() {
        return;
    }
    let taken = inherited().unwrap();
    assert_eq!((taken.tcp.len(), taken.unix.len()), (1, 1));
    assert_eq!(fcntl_getfd(&taken.tcp[0]).unwrap(), FdFlags::CLOEXEC);
    assert_eq!(fcntl_getfd(&taken.unix[0]).unwrap(), FdFlags::CLOEXEC);
    // Non-blocking, or this would wait for ever.
    assert_eq!(taken.tcp[0].accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert_eq!(taken.unix[0].accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert!(env::var_os("LISTEN_FDS").is_none());
    assert!(inherited().unwrap().is_empty(), "only once");
}

#[test]
fn sockets_of_other_kinds_are_refused() {
    let (one, other) = UnixDatagram::pair().unwrap();
    run_with_sockets("service_refuses_its_sockets", one, other);
    let null = || File::open("/dev/null").unwrap();
    run_with_sockets("service_refuses_its_sockets", null(), null());
}

#[test]
#[ignore = "started by sockets_of_other_kinds_are_refused"]
fn service_refuses_its_sockets() {
    if env::var_os(SERVICE).is_none() {
        return;
    }
    assert!(matches!(inherited(), Err(BadSocket::OtherKind(1))));
}

#[test]
fn without_systemd_there_is_nothing_to_take_over() {
    assert!(inherited().unwrap().is_empty());
    assert_eq!(watchdog_interval(), None);
    ready().unwrap();
}

#[test]
fn a_socket_that_the_network_reaches_is_refused() {
    for address in ["0.0.0.0:0", "[::]:0"] {
        let Ok(listener) = TcpListener::bind(address) else { continue };
        let address = listener.local_addr().unwrap();
        let refused = checked_tcp(listener, 1).unwrap_err().to_string();
        let expected = format!(
            "systemd passed a socket on {address}: only loopback addresses may stand in nullmta.socket"
        );
        assert_eq!(refused, expected);
    }
    assert!(checked_tcp(loopback(), 1).is_ok());
}

#[test]
fn a_socket_that_does_not_listen_is_refused() {
    let (stream, _peer) = UnixStream::pair().unwrap();
    let refused = checked_unix(OwnedFd::from(stream).into(), 2).unwrap_err();
    assert_eq!(refused.to_string(), "socket 2 that systemd passed does not listen: use Accept=no");
}

#[test]
fn systemd_is_told_in_its_own_words() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // WATCHDOG_PID has to be the service's own.
    let script = r#"WATCHDOG_PID=$$ WATCHDOG_USEC=30000000 exec "$@" 1>&2"#;
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script, "sh"]).args(service("service_notifies")).env("NOTIFY_SOCKET", &path);
    run(shell);
    let heard = || {
        let mut octets = [0; 200];
        let length = systemd.recv(&mut octets).unwrap();
        String::from_utf8(octets[..length].to_vec()).unwrap()
    };
    assert_eq!(heard(), "READY=1\n");
    assert_eq!(heard(), "STATUS=3 queued READY=1\n");
    let reloading = heard();
    let monotonic = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().trim_end();
    assert!(monotonic.parse::<u64>().unwrap() > 0);
    assert_eq!(heard(), "WATCHDOG=1\n");
    assert_eq!(heard(), "STOPPING=1\n");
}

#[test]
#[ignore = "started by systemd_is_told_in_its_own_words"]
fn service_notifies() {
    if env::var_os(SERVICE).is_none() {
        return;
    }
    ready().unwrap();
    status("3 queued\nREADY=1").unwrap();
    reloading().unwrap();
    assert_eq!(watchdog_interval(), Some(Duration::from_secs(15)));
    watchdog().unwrap();
    stopping().unwrap();
}

/// `listen.addresses` had no effect under the shipped units, and nothing said so.
#[test]
fn keys_that_the_passed_sockets_overrule_are_named() {
    let directory = TempDir::new().unwrap();
    let passed = Inherited { tcp: vec![loopback()], tls: vec![loopback()], unix: vec![unix(&directory)] };
    let address = passed.tcp[0].local_addr().unwrap();
    let tls = [passed.tls[0].local_addr().unwrap()];
    let other: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let path = directory.path().join("submit.sock");
    let passed = passed.places();
    assert!(passed.overruled(&[address], &tls, Some(&path)).is_empty());
    assert_eq!(passed.overruled(&[address, other], &tls, Some(&path)), ["listen.addresses"]);
    assert_eq!(passed.overruled(&[address], &[], None), ["listen.tls-addresses", "listen.socket"]);
    assert_eq!(
        passed.overruled(&[other], &tls, Some(Path::new("/x"))),
        ["listen.addresses", "listen.socket"]
    );
    assert!(Inherited::default().places().overruled(&[other], &tls, None).is_empty());
}

/// `systemctl reload` said that it was done when the daemon had refused the new configuration.
#[test]
fn a_reload_waits_for_the_daemons_word() {
    let [reload] = values(SERVICE_UNIT, "ExecReload")[..] else { panic!("one command") };
    let [start] = values(SERVICE_UNIT, "ExecStart")[..] else { panic!("one command") };
    assert_eq!(reload, start.replace(" run ", " reload "));
}

const SERVICE_UNIT: &str = include_str!("../../systemd/nullmta.service");
const SOCKET_UNIT: &str = include_str!("../../systemd/nullmta.socket");

/// Returns the values of `key` in a unit file, in their order.
fn values<'u>(unit: &'u str, key: &str) -> Vec<&'u str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

/// In a drain of 50,000 messages journald threw away 29,000 "sent" lines, and nobody could tell what became of
/// those messages.
#[test]
fn journald_drops_no_line_of_the_daemon() {
    assert_eq!(values(SERVICE_UNIT, "LogRateLimitIntervalSec"), ["1s"]);
    assert_eq!(values(SERVICE_UNIT, "LogRateLimitBurst"), ["1000000"]);
}

/// `NoDelay=` made systemd say "TCP_NODELAY failed" at each start: the options of a socket unit are set on all of its
/// sockets, and one of them is a unix socket.
#[test]
fn the_socket_unit_sets_nothing_that_a_unix_socket_has_not() {
    assert!(values(SOCKET_UNIT, "ListenStream").iter().any(|place| place.starts_with('/')));
    let tcp_only = [
        "NoDelay",
        "KeepAlive",
        "KeepAliveTimeSec",
        "KeepAliveIntervalSec",
        "KeepAliveProbes",
        "DeferAcceptSec",
        "TCPCongestion",
        "IPTOS",
        "IPTTL",
    ];
    for key in tcp_only {
        assert!(values(SOCKET_UNIT, key).is_empty(), "{key}");
    }
}
