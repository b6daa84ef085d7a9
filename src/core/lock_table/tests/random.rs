//! Random calls and events, checked after each.

use super::model::TENURE;
use super::task::Failure;
use super::world::{World, KEYS};
use crate::core::lock_table::Ticks;
use crate::core::{Key, Mode};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

#[derive(Clone, Debug)]
enum Action {
    Acquire { owner: (usize, bool), key: Key, mode: Mode, patient: bool, scoped: bool },
    Release { request: usize },
    ReleaseLatest { owner: usize, key: Key, mode: Mode },
    Cancel { request: usize },
    CloseOwner { owner: usize },
    Pass { time: Ticks },
    Work { task: usize },
    Fail { task: usize, failure: Failure },
    LoseSession { session: usize, talkative: bool },
    Disturb { client: u64, key: Key, mode: Mode },
    Foresight { on: bool },
    ComeToRest,
}

fn action() -> impl Strategy<Value = Action> {
    let key = || prop_oneof![4 => Just(KEYS[0]), 1 => Just(KEYS[1])];
    let mode = || select(vec![Mode::Exclusive, Mode::Shared]);
    let index = || 0..12usize;
    let owner = || (index(), prop::bool::weighted(0.3));
    let patient = || prop::bool::weighted(0.7);
    prop_oneof![
        10 => (owner(), key(), mode(), patient(), any::<bool>()).prop_map(|(owner, key, mode, patient, scoped)| {
            Action::Acquire { owner, key, mode, patient, scoped }
        }),
        4 => index().prop_map(|request| Action::Release { request }),
        4 => (index(), key(), mode()).prop_map(|(owner, key, mode)| Action::ReleaseLatest { owner, key, mode }),
        2 => index().prop_map(|request| Action::Cancel { request }),
        1 => index().prop_map(|owner| Action::CloseOwner { owner }),
        3 => select(vec![1, TENURE / 2, TENURE, 3 * TENURE]).prop_map(|time| Action::Pass { time }),
        14 => index().prop_map(|task| Action::Work { task }),
        2 => (index(), 0..7usize, any::<bool>()).prop_map(|(task, rows, in_order)| {
            Action::Fail { task, failure: Failure { rows, in_order } }
        }),
        1 => (index(), any::<bool>()).prop_map(|(session, talkative)| Action::LoseSession { session, talkative }),
        5 => (0..3u64, key(), mode()).prop_map(|(client, key, mode)| Action::Disturb { client, key, mode }),
        1 => any::<bool>().prop_map(|on| Action::Foresight { on }),
        1 => Just(Action::ComeToRest),
    ]
}

impl World {
    fn act(&mut self, action: &Action) {
        match *action {
            Action::Acquire { owner, key, mode, patient, scoped } => self.acquire(owner, key, mode, patient, scoped),
            Action::Release { request } => self.release(request),
            Action::ReleaseLatest { owner, key, mode } => self.release_latest(owner, key, mode),
            Action::Cancel { request } => self.cancel(request),
            Action::CloseOwner { owner } => self.close_owner(owner),
            Action::Pass { time } => self.pass(time),
            Action::Work { task } => self.work(task),
            Action::Fail { task, failure } => self.fail(task, failure),
            Action::LoseSession { session, talkative } => self.lose_session(session, talkative),
            Action::Disturb { client, key, mode } => self.disturb(client, key, mode),
            Action::Foresight { on } => self.foresight = on,
            Action::ComeToRest => self.come_to_rest(),
        }
    }
}

fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    // PROPTEST_CASES asks for more. What failed once becomes a scenario, not a file of seeds.
    ProptestConfig { cases: config.cases.max(1000), failure_persistence: None, ..config }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn promises_are_kept(
        pace in select(vec![0, 1, TENURE]),
        actions in vec(action(), 1..100),
        waiters_keep_their_holds in any::<bool>(),
        requeues in any::<bool>(),
    ) {
        let mut world = World::new(pace, requeues);
        for action in &actions {
            world.act(action);
        }
        if waiters_keep_their_holds {
            world.finish_without_deadlock();
        } else {
            world.finish();
        }
    }
}
