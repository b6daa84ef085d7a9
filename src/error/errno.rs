//! The names that Node has for the system's errors.

use std::io;

/// The name of an error of the system. One that the standard library makes up itself, of no number, goes by its kind.
pub(super) fn name(error: &io::Error) -> &'static str {
    use io::ErrorKind as Kind;
    if let Some(number) = error.raw_os_error() {
        let mut names = NAMES.iter().chain(MORE_NAMES);
        return names.find(|(known, _)| *known == number).map_or("UNKNOWN", |(_, name)| name);
    }
    match error.kind() {
        Kind::ConnectionRefused => "ECONNREFUSED",
        // The other side has ended what was not at its end.
        Kind::ConnectionReset | Kind::UnexpectedEof => "ECONNRESET",
        Kind::ConnectionAborted => "ECONNABORTED",
        Kind::BrokenPipe | Kind::WriteZero => "EPIPE",
        Kind::NotConnected => "ENOTCONN",
        Kind::TimedOut => "ETIMEDOUT",
        Kind::HostUnreachable => "EHOSTUNREACH",
        Kind::NetworkUnreachable => "ENETUNREACH",
        Kind::AddrNotAvailable => "EADDRNOTAVAIL",
        Kind::NotFound => "ENOENT",
        Kind::PermissionDenied => "EACCES",
        // A path with a NUL, a text that is no UTF-8.
        Kind::InvalidInput | Kind::InvalidData => "EINVAL",
        Kind::OutOfMemory => "ENOMEM",
        Kind::Unsupported => "ENOTSUP",
        _ => "EIO",
    }
}

/// A table of the constants of `libc` and their names, which are the same.
#[cfg(unix)]
macro_rules! named {
    ($($name:ident)*) => { &[$((libc::$name, stringify!($name))),*] };
}

/// Of numbers that have two names the first counts, as in Node.
#[cfg(unix)]
const NAMES: &[(i32, &str)] = named![
    E2BIG EACCES EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT EAGAIN EALREADY EBADF EBUSY ECANCELED ECONNABORTED ECONNREFUSED
    ECONNRESET EDESTADDRREQ EEXIST EFAULT EFBIG EHOSTDOWN EHOSTUNREACH EILSEQ EINTR EINVAL EIO EISCONN EISDIR ELOOP EMFILE
    EMLINK EMSGSIZE ENAMETOOLONG ENETDOWN ENETUNREACH ENFILE ENOBUFS ENODATA ENODEV ENOENT ENOMEM ENOPROTOOPT ENOSPC
    ENOSYS ENOTCONN ENOTDIR ENOTEMPTY ENOTSOCK ENOTSUP ENOTTY ENXIO EOPNOTSUPP EOVERFLOW EPERM EPIPE EPROTO EPROTONOSUPPORT
    EPROTOTYPE ERANGE EROFS ESHUTDOWN ESOCKTNOSUPPORT ESPIPE ESRCH ETIMEDOUT ETXTBSY EXDEV EDQUOT ESTALE
];

#[cfg(target_os = "linux")]
const MORE_NAMES: &[(i32, &str)] = named![ENONET EREMOTEIO EUNATCH];
#[cfg(not(target_os = "linux"))]
const MORE_NAMES: &[(i32, &str)] = &[];

/// Errors of Windows and of its sockets (`winerror.h`), by the names that libuv gives them.
#[cfg(windows)]
const NAMES: &[(i32, &str)] = &[
    (2, "ENOENT"),
    (3, "ENOENT"),
    (4, "EMFILE"),
    (5, "EPERM"),
    (6, "EBADF"),
    (8, "ENOMEM"),
    (14, "ENOMEM"),
    (15, "ENOENT"),
    (17, "EXDEV"),
    (19, "EROFS"),
    (32, "EBUSY"),
    (33, "EBUSY"),
    (39, "ENOSPC"),
    (50, "ENOTSUP"),
    (53, "ENOENT"),
    (80, "EEXIST"),
    (87, "EINVAL"),
    (109, "EOF"),
    (112, "ENOSPC"),
    (121, "ETIMEDOUT"),
    (123, "ENOENT"),
    (161, "ENOENT"),
    (183, "EEXIST"),
    (206, "ENAMETOOLONG"),
    (232, "EPIPE"),
    (233, "EPIPE"),
    (267, "ENOENT"),
    (995, "ECANCELED"),
    (1225, "ECONNREFUSED"),
    (1231, "ENETUNREACH"),
    (1232, "EHOSTUNREACH"),
    (1236, "ECONNABORTED"),
    (10004, "ECANCELED"),
    (10009, "EBADF"),
    (10013, "EACCES"),
    (10014, "EFAULT"),
    (10022, "EINVAL"),
    (10024, "EMFILE"),
    (10035, "EAGAIN"),
    (10037, "EALREADY"),
    (10038, "ENOTSOCK"),
    (10040, "EMSGSIZE"),
    (10041, "EPROTOTYPE"),
    (10042, "ENOPROTOOPT"),
    (10043, "EPROTONOSUPPORT"),
    (10044, "ESOCKTNOSUPPORT"),
    (10045, "ENOTSUP"),
    (10046, "EAFNOSUPPORT"),
    (10047, "EAFNOSUPPORT"),
    (10048, "EADDRINUSE"),
    (10049, "EADDRNOTAVAIL"),
    (10050, "ENETDOWN"),
    (10051, "ENETUNREACH"),
    (10053, "ECONNABORTED"),
    (10054, "ECONNRESET"),
    (10055, "ENOBUFS"),
    (10056, "EISCONN"),
    (10057, "ENOTCONN"),
    (10058, "EPIPE"),
    (10060, "ETIMEDOUT"),
    (10061, "ECONNREFUSED"),
    (10065, "EHOSTUNREACH"),
];

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn of(number: i32) -> &'static str {
        name(&io::Error::from_raw_os_error(number))
    }

    #[test]
    fn the_number_counts_and_not_what_the_standard_library_makes_of_it() {
        // Kinds that it has no name for, or one for several.
        for (number, expected) in [
            (libc::EMFILE, "EMFILE"),
            (libc::ENFILE, "ENFILE"),
            (libc::ENOTDIR, "ENOTDIR"),
            (libc::EISDIR, "EISDIR"),
            (libc::EPERM, "EPERM"),
            (libc::EACCES, "EACCES"),
            (libc::ELOOP, "ELOOP"),
            (libc::EPROTO, "EPROTO"),
            (libc::ENETDOWN, "ENETDOWN"),
            (libc::EHOSTDOWN, "EHOSTDOWN"),
            (libc::ENOTSUP, "ENOTSUP"),
            (libc::EWOULDBLOCK, "EAGAIN"),
            (100_000, "UNKNOWN"),
        ] {
            assert_eq!(of(number), expected);
        }
    }

    #[test]
    fn what_has_no_number_goes_by_its_kind() {
        assert_eq!(name(&io::ErrorKind::UnexpectedEof.into()), "ECONNRESET");
        assert_eq!(name(&io::Error::other("what")), "EIO");
    }
}
