//! Names for the parties of a lock. Whoever creates one keeps it unique; the lock table only compares them.

/// Whose hold it is. Holds of one owner never conflict with each other.
///
/// Owners come in groups that are opened and closed as one. A group is an owner itself, for calls that share their
/// holds; a call that shares them with nobody is an owner of its own in the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnerId {
    group: u64,
    /// The number of the call; 0 for the group.
    call: u64,
}

impl OwnerId {
    /// A group of owners.
    #[must_use]
    pub const fn new(group: u64) -> OwnerId {
        OwnerId { group, call: 0 }
    }

    /// The group that this owner belongs to.
    #[must_use]
    pub const fn group(self) -> OwnerId {
        OwnerId::new(self.group)
    }

    /// The owner that the call with this request is by itself, in the same group. It asks for nothing else.
    #[must_use]
    pub const fn of_call(self, request: RequestId) -> OwnerId {
        OwnerId { group: self.group, call: request.number }
    }

    /// Whether it is the owner of one call only.
    #[must_use]
    pub const fn is_of_one_call(self) -> bool {
        self.call != 0
    }
}

/// A thread that makes calls and is told their answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ThreadId(pub u64);

/// One call: an acquire (and the hold that it becomes) or a release that waits for its confirmation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId {
    /// Who has made the call.
    pub thread: ThreadId,
    /// The number that the thread has given it, from 1 on. Later calls have greater ones.
    pub number: u64,
}

impl RequestId {
    /// The call with this number of this thread.
    #[must_use]
    pub const fn new(thread: ThreadId, number: u64) -> RequestId {
        RequestId { thread, number }
    }
}

/// One connection to PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);
