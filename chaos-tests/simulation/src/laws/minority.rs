//! A minority says `unavailable`: a message that was first sent after its gateway was cut off from every majority is not
//! confirmed there while it is so.

use std::time::Duration;

use crate::world::World;

/// A gateway has confirmed a message that was first sent at `began`, over whichever gateway.
pub fn check(world: &World, gateway: usize, id: &str, began: Duration) {
    // What a gateway sent right before its machine failed may be read after it.
    if world.net.cut_at() >= began || world.machines[gateway].replica().is_none() {
        return;
    }
    let reach = world.net.reach(gateway);
    let nodes = |machines: &mut dyn Iterator<Item = usize>| {
        machines
            .filter_map(|machine| world.machines[machine].node())
            .collect::<Vec<_>>()
    };
    let near = nodes(&mut reach.iter().copied());
    // By whatever voters any reachable node knows of: none of them may be a majority that the gateway lacks.
    let enough = reach
        .iter()
        .filter_map(|machine| world.machines[*machine].replica())
        .any(|replica| {
            let state = replica.state();
            let voters = &state.borrow().voters;
            let here = voters.iter().filter(|voter| near.contains(voter)).count();
            here * 2 > voters.len()
        });
    if !enough {
        let name = &world.machines[gateway].name;
        let what = format!("{name}, which reaches {near:?} only, confirms {id}");
        world.oracle.report("a minority says unavailable", what);
    }
}
