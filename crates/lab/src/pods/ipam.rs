//! Addresses of pods: each is used again as late as possible, so that a stale one is noticed.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// The addresses of a node's pod network.
#[derive(Debug)]
pub(crate) struct Ipam {
    net: Ipv4Net,
    next: u32,
    used: BTreeSet<u32>,
}

/// The network itself and its gateway are never given out.
const FIRST: u32 = 2;

impl Ipam {
    pub(crate) fn new(net: Ipv4Net) -> Ipam {
        Ipam {
            net,
            next: FIRST,
            used: BTreeSet::new(),
        }
    }

    /// A free address with its number; `None` when all are in use.
    pub(crate) fn take(&mut self) -> Option<(Ipv4Addr, u32)> {
        let broadcast = u32::from(self.net.broadcast()) - u32::from(self.net.network());
        for _ in FIRST..broadcast {
            let number = self.next;
            self.next = if number + 1 >= broadcast {
                FIRST
            } else {
                number + 1
            };
            if number < broadcast && self.used.insert(number) {
                return Some((
                    Ipv4Addr::from(u32::from(self.net.network()) + number),
                    number,
                ));
            }
        }
        None
    }

    /// Gives an address back.
    pub(crate) fn release(&mut self, number: u32) {
        self.used.remove(&number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_used_in_turn() {
        let mut ipam = Ipam::new("10.1.0.0/29".parse().expect("a network"));
        let mut take = || ipam.take().map(|(ip, _)| ip.to_string());
        let first: Vec<_> = (0..6).map(|_| take()).collect();
        let some = |ip: &str| Some(format!("10.1.0.{ip}"));
        assert_eq!(
            first,
            [some("2"), some("3"), some("4"), some("5"), some("6"), None]
        );
        ipam.release(3);
        assert_eq!(ipam.take().map(|(ip, _)| ip.to_string()), some("3"));
        assert_eq!(ipam.take(), None);
    }
}
