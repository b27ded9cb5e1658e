//! What happens to packets on their way, as a value; and the rules that do it.
//!
//! Rules stand where packets arrive. A drop where they leave would be told to the sender by the kernel (`EPERM`), and a
//! machine that vanishes tells nobody anything.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use super::lan::address;

/// Who is on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Where the clients are.
    Clients,
    /// A node's machine, counted from 0.
    Machine(u8),
}

/// What is done to packets between machines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Weather {
    /// From whom to whom nothing arrives.
    cut: BTreeSet<(Place, Place)>,
    /// Of a hundred mesh datagrams between nodes, how many are lost on each way.
    pub loss_percent: u8,
}

impl Weather {
    /// Fair: everything arrives.
    pub fn fair() -> Self {
        Self::default()
    }

    /// Loses mesh datagrams on every link.
    pub fn lossy(loss_percent: u8) -> Self {
        Self {
            loss_percent,
            ..Self::default()
        }
    }

    /// Cuts both ways between two places.
    #[must_use]
    pub fn cut(mut self, a: Place, b: Place) -> Self {
        self.cut.extend([(a, b), (b, a)]);
        self
    }

    /// Cuts one way: nothing of `from` arrives at `to`.
    #[must_use]
    pub fn cut_one_way(mut self, from: Place, to: Place) -> Self {
        self.cut.insert((from, to));
        self
    }

    /// Both at once.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.cut.extend(&other.cut);
        self.loss_percent = self.loss_percent.max(other.loss_percent);
        self
    }

    /// A machine of `machines` that vanishes: nobody hears it, and it hears nobody.
    pub fn vanished(machine: u8, machines: u8) -> Self {
        Self::split(machine, machines).cut(Place::Machine(machine), Place::Clients)
    }

    /// A machine cut off from the other machines; clients still reach it.
    pub fn split(machine: u8, machines: u8) -> Self {
        let others = (0..machines).filter(|other| *other != machine);
        others.fold(Self::fair(), |weather, other| {
            weather.cut(Place::Machine(machine), Place::Machine(other))
        })
    }

    /// The rules of one place: the whole table, in one transaction.
    pub(super) fn rules(&self, here: Place) -> String {
        let mut rules = String::from(
            "add table inet jarvis\ndelete table inet jarvis\ntable inet jarvis {\n chain arrivals {\n  type filter hook \
             input priority 0; policy accept;\n",
        );
        for (from, _) in self.cut.iter().filter(|(_, to)| *to == here) {
            let _ = writeln!(rules, "  ip saddr {} drop", address_of(*from));
        }
        if self.loss_percent > 0 && here != Place::Clients {
            let _ = writeln!(
                rules,
                "  meta l4proto udp numgen random mod 100 < {} drop",
                self.loss_percent
            );
        }
        rules.push_str(" }\n}\n");
        rules
    }
}

fn address_of(place: Place) -> Ipv4Addr {
    match place {
        Place::Clients => address(None),
        Place::Machine(machine) => address(Some(machine)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drops(weather: &Weather, here: Place) -> Vec<String> {
        let rules = weather.rules(here);
        let lines = rules.lines().map(str::trim).filter(|line| line.ends_with("drop"));
        lines.map(str::to_owned).collect()
    }

    #[test]
    fn a_machine_that_vanished_neither_hears_nor_is_heard() {
        let weather = Weather::vanished(1, 3);
        let gone = [
            "ip saddr 10.77.0.254 drop",
            "ip saddr 10.77.0.1 drop",
            "ip saddr 10.77.0.3 drop",
        ];
        assert_eq!(drops(&weather, Place::Machine(1)), gone);
        for other in [Place::Clients, Place::Machine(0), Place::Machine(2)] {
            assert_eq!(drops(&weather, other), ["ip saddr 10.77.0.2 drop"], "{other:?}");
        }
    }

    #[test]
    fn a_split_leaves_the_clients_everywhere() {
        let weather = Weather::split(0, 3);
        assert!(drops(&weather, Place::Clients).is_empty());
        assert_eq!(
            drops(&weather, Place::Machine(0)),
            ["ip saddr 10.77.0.2 drop", "ip saddr 10.77.0.3 drop"]
        );
    }

    #[test]
    fn one_way_is_not_the_other_and_weathers_add_up() {
        let (first, second) = (Place::Machine(0), Place::Machine(1));
        let both = Weather::fair()
            .cut_one_way(first, second)
            .and(&Weather::lossy(5))
            .and(&Weather::lossy(3));
        assert!(drops(&both, first).iter().all(|rule| !rule.contains("saddr")));
        assert_eq!(
            drops(&both, second).first().map(String::as_str),
            Some("ip saddr 10.77.0.1 drop")
        );
        assert_eq!(both.loss_percent, 5);
    }

    #[test]
    fn fair_weather_drops_nothing_and_loss_is_the_machines_only() {
        assert!(drops(&Weather::fair(), Place::Machine(0)).is_empty());
        let lossy = Weather::lossy(5);
        assert!(drops(&lossy, Place::Clients).is_empty());
        assert_eq!(
            drops(&lossy, Place::Machine(2)),
            ["meta l4proto udp numgen random mod 100 < 5 drop"]
        );
    }
}
