//! Listening on a Unix socket: its file is made with its mode and owner, takes the place of one that a
//! process has left behind, and is removed at the end.

use std::{
    fs::{self, File, Permissions},
    io,
    os::{
        fd::OwnedFd,
        unix::{
            self,
            fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown},
        },
    },
    path::{Path, PathBuf},
};

use postern_core::{
    Text,
    origin::{Origin, UnixPeer},
};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{UnixListener, UnixStream};

use super::address::UnixAddress;
use crate::{link::Listener, tcp::BACKLOG};

/// Who may connect. Connecting needs leave to write the file (unix(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnixAccess {
    pub mode: u32,
    /// That of this process where left out.
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

/// A listening Unix socket.
#[derive(Debug)]
pub struct UnixSocketListener {
    listener: UnixListener,
    address: UnixAddress,
    /// What its callers are told to have connected to.
    path: Option<Text>,
    _file: Option<SocketFile>,
}

/// The file of a socket that this process has bound. Dropping it removes it, unless another has taken
/// its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Default for UnixAccess {
    /// For the user and the group of this process.
    fn default() -> Self {
        Self {
            mode: 0o660,
            uid: None,
            gid: None,
        }
    }
}

impl UnixSocketListener {
    /// Listens at `address`. A file that nobody listens at is replaced. `access` means nothing for an
    /// abstract name. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// What the operating system says; `AddrInUse` where another process listens.
    pub fn bind(address: &UnixAddress, access: UnixAccess) -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        let file = match address {
            UnixAddress::Abstract(_) => {
                socket.bind(&address.to_socket_address()?)?;
                None
            }
            UnixAddress::Path(path) => match bind_file(&socket, path, access) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    remove_stale(path)?;
                    Some(bind_file(&socket, path, access)?)
                }
                bound => Some(bound?),
            },
        };
        socket.listen(BACKLOG.cast_signed())?;
        Self::new(socket.into(), address.clone(), file)
    }

    /// Takes a socket that listens already. Its file is somebody else's. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// What the operating system says; `InvalidInput` where the socket has no name.
    pub fn on(listener: unix::net::UnixListener) -> io::Result<Self> {
        let address = SockRef::from(&listener).local_addr()?;
        let address = UnixAddress::of(&address).ok_or(io::ErrorKind::InvalidInput)?;
        Self::new(listener, address, None)
    }

    fn new(
        listener: unix::net::UnixListener,
        address: UnixAddress,
        file: Option<SocketFile>,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener: UnixListener::from_std(listener)?,
            path: Some(Text::from(address.to_string())),
            address,
            _file: file,
        })
    }

    #[must_use]
    pub const fn address(&self) -> &UnixAddress {
        &self.address
    }
}

impl Listener for UnixSocketListener {
    type Link = UnixStream;

    async fn accept(&mut self) -> io::Result<(UnixStream, Origin)> {
        let (stream, _) = self.listener.accept().await?;
        let credentials = stream.peer_cred()?;
        let peer = UnixPeer {
            uid: credentials.uid(),
            gid: credentials.gid(),
            pid: credentials.pid(),
            path: self.path.clone(),
        };
        Ok((stream, Origin::Unix(peer)))
    }
}

impl SocketFile {
    /// Whether `path` is still the file that was bound.
    fn is_there(&self) -> bool {
        identity(&self.path).is_ok_and(|identity| identity == self.identity)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_there()
            && let Err(error) = fs::remove_file(&self.path)
        {
            let path = self.path.display();
            tracing::warn!(%error, %path, "the file of a socket stays behind");
        }
    }
}

/// Binds `socket` to a file that is open to this process's user only until it has its owner and mode.
fn bind_file(socket: &Socket, path: &Path, access: UnixAccess) -> io::Result<SocketFile> {
    if cfg!(target_os = "linux") {
        // The file takes over the mode of the socket, less the umask.
        let socket = File::from(OwnedFd::from(socket.try_clone()?));
        socket.set_permissions(Permissions::from_mode(0o600))?;
    }
    socket.bind(&UnixAddress::Path(path.to_owned()).to_socket_address()?)?;
    let file = SocketFile {
        path: path.to_owned(),
        identity: identity(path)?,
    };
    let (uid, gid) = (access.uid, access.gid);
    if uid.or(gid).is_some() {
        lchown(path, uid, gid).map_err(|error| cannot("be given to its owner", &error))?;
    }
    fs::set_permissions(path, Permissions::from_mode(access.mode))?;
    Ok(file)
}

/// Removes the file of a socket whose process is gone.
fn remove_stale(path: &Path) -> io::Result<()> {
    let before = fs::symlink_metadata(path)?;
    if !before.file_type().is_socket() {
        let message = "there is a file that is no socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Else it would wait while the other's backlog is full.
    socket.set_nonblocking(true)?;
    let address = UnixAddress::Path(path.to_owned()).to_socket_address()?;
    let in_use = |why: &str| Err(io::Error::new(io::ErrorKind::AddrInUse, why));
    let why = socket.connect(&address).err();
    match why.map(|error| (error.kind(), error)) {
        None | Some((io::ErrorKind::WouldBlock, _)) => {
            return in_use("another process listens there");
        }
        Some((io::ErrorKind::NotFound, _)) => return Ok(()),
        Some((kind, error)) if kind != io::ErrorKind::ConnectionRefused => {
            return Err(cannot("be asked who listens there", &error));
        }
        Some(_) => {}
    }
    // Somebody else may have seen the same, and have bound it since.
    if identity(path)? != (before.dev(), before.ino()) {
        return in_use("another process has just taken it");
    }
    tracing::info!(path = %path.display(), "the socket of a process that is gone is replaced");
    fs::remove_file(path)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

fn cannot(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("the socket cannot {what}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, sync::LazyLock};

    use super::*;

    /// A folder whose path is short enough, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            static ID: LazyLock<u32> = LazyLock::new(std::process::id);
            let path = std::env::temp_dir().join(format!("postern-{}-{name}", *ID));
            fs::create_dir(&path).expect("a folder");
            Self(path)
        }

        fn socket(&self) -> (PathBuf, UnixAddress) {
            let path = self.0.join("a.sock");
            (path.clone(), UnixAddress::Path(path))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn bind(address: &UnixAddress) -> io::Result<UnixSocketListener> {
        UnixSocketListener::bind(address, UnixAccess::default())
    }

    fn mode(path: &Path) -> u32 {
        let metadata = fs::symlink_metadata(path).expect("it is there");
        metadata.permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn a_socket_has_its_mode_and_goes_with_its_listener() {
        let folder = Folder::new("mode");
        let (path, address) = folder.socket();
        for wanted in [0o600, 0o660, 0o666] {
            let access = UnixAccess {
                mode: wanted,
                ..UnixAccess::default()
            };
            let listener = UnixSocketListener::bind(&address, access).expect("free");
            assert_eq!(mode(&path), wanted);
            drop(listener);
            assert!(!path.exists());
        }
    }

    #[tokio::test]
    async fn a_caller_is_known_by_its_user() {
        let folder = Folder::new("peer");
        let (path, address) = folder.socket();
        let mut listener = bind(&address).expect("free");
        let _caller = UnixStream::connect(&path).await.expect("it listens");
        let (stream, origin) = listener.accept().await.expect("it is there");
        let own = stream.peer_cred().expect("known");
        let expected = UnixPeer {
            uid: fs::metadata(&folder.0).expect("there").uid(),
            gid: own.gid(),
            pid: Some(std::process::id().cast_signed()),
            path: Some(Text::from(path.display().to_string())),
        };
        assert_eq!(origin, Origin::Unix(expected));
    }

    #[tokio::test]
    async fn one_that_listens_is_refused_by_name_and_one_left_behind_replaced() {
        let folder = Folder::new("stale");
        let (path, address) = folder.socket();
        let live = bind(&address).expect("free");
        let refused = bind(&address).expect_err("in use");
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(refused.to_string(), "another process listens there");
        assert!(path.exists(), "it is the other's");
        drop(live);
        // As a process that was killed leaves it.
        drop(unix::net::UnixListener::bind(&path).expect("free"));
        assert!(path.exists());
        let after = bind(&address).expect("replaced");
        UnixStream::connect(&path).await.expect("it listens");
        drop(after);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let folder = Folder::new("file");
        let (path, address) = folder.socket();
        fs::write(&path, "kept").expect("written");
        let refused = bind(&address).expect_err("a file");
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).expect("there"), b"kept");
        fs::remove_file(&path).expect("there");
        symlink("nowhere", &path).expect("linked");
        assert!(bind(&address).is_err());
        assert!(path.is_symlink());
    }

    #[tokio::test]
    async fn a_file_that_is_another_s_by_now_stays() {
        let folder = Folder::new("other");
        let (path, address) = folder.socket();
        let listener = bind(&address).expect("free");
        fs::rename(&path, folder.0.join("moved.sock")).expect("moved");
        let other = bind(&address).expect("free");
        drop(listener);
        UnixStream::connect(&path).await.expect("the other listens");
        drop(other);
    }

    #[tokio::test]
    async fn an_abstract_name_has_no_file() {
        let name = format!("@postern-{}-abstract", std::process::id());
        let address: UnixAddress = name.parse().expect("a name");
        let mut listener = bind(&address).expect("free");
        let refused = bind(&address).expect_err("in use");
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        let _caller = UnixStream::connect(format!("\0{}", &name[1..]))
            .await
            .expect("it listens");
        let (_, origin) = listener.accept().await.expect("it is there");
        let Origin::Unix(peer) = origin else {
            panic!("{origin}")
        };
        assert_eq!(peer.path.as_deref(), Some(&*name));
    }
}
