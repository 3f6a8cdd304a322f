//! Tells the service manager how far we are: the datagram of sd_notify(3). Silent without one.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::os::unix::net::UnixDatagram;

use crate::config::environment;

/// What the service manager is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The file system answers. Names our pid, because the daemon is not the process it started.
    Ready,
    /// Everything is being stored.
    Stopping,
}

/// Tells `$NOTIFY_SOCKET`; what goes wrong is logged, never fatal.
pub(super) fn tell(state: State) {
    let Some(address) = environment("NOTIFY_SOCKET") else { return };
    if let Err(cause) = send(address.as_ref(), state) {
        tracing::warn!("cannot tell the service manager: {cause}");
    }
}

fn send(address: &OsStr, state: State) -> io::Result<()> {
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let text = match state {
        State::Ready => format!("READY=1\nMAINPID={}", std::process::id()),
        State::Stopping => "STOPPING=1".to_owned(),
    };
    UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_arrives_with_the_pid() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), State::Ready).unwrap();
        let mut bytes = [0; 64];
        let got = manager.recv(&mut bytes).unwrap();
        let expected = format!("READY=1\nMAINPID={}", std::process::id());
        assert_eq!(&bytes[..got], expected.as_bytes());
    }
}
