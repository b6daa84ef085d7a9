//! One manager for each connection config in use, so that all owners of a process share its sessions.

use super::handle::Manager;
use super::mailbox::ClientId;
use super::session_task;
use super::settings::Settings;
use crate::pg::ConnectConfig;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

type Managers = Mutex<HashMap<(ConnectConfig, Settings), Weak<Manager>>>;

fn managers() -> &'static Managers {
    static MANAGERS: OnceLock<Managers> = OnceLock::new();
    MANAGERS.get_or_init(Managers::default)
}

/// The manager for this config and these settings. It lives while somebody keeps it or a session of it is open.
#[must_use]
pub fn manager_for(config: ConnectConfig, settings: Settings) -> Arc<Manager> {
    let mut managers = managers().lock().unwrap_or_else(PoisonError::into_inner);
    managers.retain(|_, manager| manager.strong_count() > 0);
    let known = (config, settings);
    if let Some(manager) = managers.get(&known).and_then(Weak::upgrade) {
        return manager;
    }
    let manager = Manager::new(known.0.clone(), known.1.clone(), session_task::start);
    managers.insert(known, Arc::downgrade(&manager));
    manager
}

/// Ends all that a client has anywhere.
pub fn close_client(client: ClientId) {
    let managers: Vec<Arc<Manager>> = {
        let managers = managers().lock().unwrap_or_else(PoisonError::into_inner);
        managers.values().filter_map(Weak::upgrade).collect()
    };
    for manager in managers {
        manager.close_client(client);
    }
}
