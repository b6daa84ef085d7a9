//! Batches that fail after some of their rows: what becomes of both modes of a key, and of steps that were not reached.

use super::model::TENURE;
use super::task::Failure;
use super::world::{World, KEYS};
use crate::core::Mode;

const OWNER: (usize, bool) = (0, false);
const WAITER: (usize, bool) = (1, false);

/// A world whose only session works at two keys at once.
fn world() -> World {
    let mut world = World::new(1, true);
    world.sessions.truncate(1);
    world
}

fn lock(world: &mut World, owner: (usize, bool), key: usize, mode: Mode) {
    world.acquire(owner, KEYS[key], mode, true, false);
}

/// Fails what is under way for the first key together with a try of the second.
fn fail(world: &mut World, rows: usize, in_order: bool) {
    lock(world, WAITER, 1, Mode::Exclusive);
    world.fail(0, Failure { rows, in_order });
}

#[test]
fn both_modes_of_a_requeue_are_given_up_however_many_rows_were_done() {
    for wanted in [Mode::Exclusive, Mode::Shared] {
        for (rows, in_order) in (0..=4).flat_map(|rows| [(rows, true), (rows, false)]) {
            let mut world = world();
            lock(&mut world, OWNER, 0, Mode::Shared);
            world.come_to_rest();
            lock(&mut world, OWNER, 0, Mode::Exclusive);
            world.come_to_rest();
            // Another one waits in this process, and the tenure is over.
            lock(&mut world, WAITER, 0, wanted);
            world.pass(TENURE);
            world.release(0);
            world.release(0);
            fail(&mut world, rows, in_order);
            world.finish();
        }
    }
}

#[test]
fn both_modes_of_a_release_are_given_up_however_many_rows_were_done() {
    for (rows, in_order) in (0..=3).flat_map(|rows| [(rows, true), (rows, false)]) {
        let mut world = world();
        lock(&mut world, OWNER, 0, Mode::Shared);
        world.come_to_rest();
        lock(&mut world, OWNER, 0, Mode::Exclusive);
        world.come_to_rest();
        world.release(0);
        world.release(0);
        fail(&mut world, rows, in_order);
        world.finish();
    }
}

#[test]
fn a_failed_batch_rejects_nobody_whose_step_it_does_not_know_to_have_failed() {
    let mut world = world();
    lock(&mut world, OWNER, 0, Mode::Exclusive);
    // The model takes no failure without evidence.
    fail(&mut world, 1, true);
    world.come_to_rest();
    assert_eq!(world.model.live().len(), 2, "both are granted");
    world.finish();
}
