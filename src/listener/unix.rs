//! Opens the unix socket: every local user may connect (mode 0666), and the kernel tells which user it is.
//!
//! A socket file that a dead process left behind is replaced. One on which somebody listens, and any other kind of
//! file, is left alone. The socket file stays when we stop: a client then cannot connect, as it could not without the
//! file.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::listener::bound::{BACKLOG, BindError, Bound, io_error};

/// The mode of the socket, with which everybody may connect. The limits of a user are in `limits.rs`.
const MODE: u32 = 0o666;

/// Listens on `path`, and creates its directory if it is missing.
pub fn bind(path: &Path) -> Result<Bound, BindError> {
    let name = &path.display();
    make_directory_of(path)?;
    remove_stale(path)?;
    let address = SockAddr::unix(path).map_err(io_error("use the name", name))?;
    let socket = stream_socket().map_err(io_error("make the socket", name))?;
    socket.bind(&address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse(name.to_string()),
        _ => io_error("create", name)(error),
    })?;
    // The mode is set before `listen`, so that no client fails because of a mode that the umask made.
    fs::set_permissions(path, Permissions::from_mode(MODE)).map_err(io_error("set the mode of", name))?;
    socket.listen(BACKLOG).map_err(io_error("listen on", name))?;
    Bound::unix(socket.into())
}

/// Creates the directory of the socket `path` if it is missing, as `/run/nullmta` is in a container without systemd.
/// Everybody may pass through it. Directories above it are not created, since they are not ours.
pub(crate) fn make_directory_of(path: &Path) -> Result<(), BindError> {
    let Some(directory) = path.parent().filter(|directory| !directory.exists()) else { return Ok(()) };
    let made = fs::create_dir(directory)
        // The mode is set again, since the umask has removed bits.
        .and_then(|()| fs::set_permissions(directory, Permissions::from_mode(0o755)));
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(BindError::NoDirectory(directory.to_owned(), error))
        }
        _ => Ok(()),
    }
}

/// Removes a socket file on which nobody listens. Any other file with the name stays, and is an error.
pub(crate) fn remove_stale(path: &Path) -> Result<(), BindError> {
    let name = &path.display();
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error("look at", name)(error)),
    };
    if !kind.is_socket() {
        return Err(BindError::NotASocket(path.to_owned()));
    }
    match is_answered(path) {
        Ok(false) => fs::remove_file(path).map_err(io_error("remove the stale socket", name)),
        Ok(true) => Err(BindError::InUse(name.to_string())),
        Err(error) => Err(io_error("see whether anybody listens on", name)(error)),
    }
}

fn is_answered(path: &Path) -> io::Result<bool> {
    let socket = stream_socket()?;
    // If the backlog is full, somebody listens there; waiting for room in it would block our start.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(true),
    }
}

fn stream_socket() -> io::Result<Socket> {
    Socket::new(Domain::UNIX, Type::STREAM, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixListener, UnixStream};

    /// In a container nothing creates /run/nullmta, and the daemon did not start.
    #[test]
    fn a_missing_directory_is_made_for_everybody_to_pass() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nullmta/submit.sock");
        let _bound = bind(&path).unwrap();
        let mode = fs::metadata(path.parent().unwrap()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        make_directory_of(&path).unwrap();
    }

    #[test]
    fn everybody_may_connect() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("submit.sock");
        let _bound = bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("submit.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let bound = bind(&path).unwrap();
        let error = bind(&path).unwrap_err();
        assert!(matches!(error, BindError::InUse(_)), "{error}");
        assert!(UnixStream::connect(&path).is_ok(), "the first one still has its name");
        drop(bound);
        assert!(bind(&path).is_ok());
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&file, "precious").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for path in [&file, &link] {
            assert!(matches!(bind(path), Err(BindError::NotASocket(_))), "{}", path.display());
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    }

    #[test]
    fn a_missing_directory_and_an_endless_name_are_errors_that_name_the_path() {
        let directory = tempfile::tempdir().unwrap();
        let error = bind(&directory.path().join("missing/deeper/submit.sock")).unwrap_err();
        assert!(matches!(error, BindError::NoDirectory(..)), "{error}");
        let owner = rustix::process::geteuid().as_raw();
        let way = format!(
            "missing/deeper is missing and cannot be made: No such file or directory (os error 2); as root: \
                           install -d -o {owner} "
        );
        assert!(error.to_string().contains(&way), "{error}");
        let name = "x".repeat(120);
        let error = bind(&directory.path().join(&name)).unwrap_err();
        assert!(matches!(error, BindError::Io { .. }) && error.to_string().contains(&name), "{error}");
    }
}
