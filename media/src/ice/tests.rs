//! Two agents on a virtual wire, in virtual time (RFC 8445, RFC 7675).

use super::*;

struct World {
    now: Instant,
    agents: [Agent; 2],
    addresses: [SocketAddr; 2],
    /// Drops datagrams for which this gives true.
    lose: fn(u32) -> bool,
    sent: u32,
    events: [Vec<Event>; 2],
}

fn credentials(name: &str) -> Credentials {
    Credentials { ufrag: format!("{name}frag"), pwd: format!("{name}-password-of-22-chars") }
}

impl World {
    fn new(controlling: [bool; 2], lose: fn(u32) -> bool) -> Self {
        let now = Instant::now();
        let mut agents = [
            Agent::new(credentials("a"), controlling[0], 10),
            Agent::new(credentials("b"), controlling[1], 20),
        ];
        agents[0].set_remote(credentials("b"), now);
        agents[1].set_remote(credentials("a"), now);
        let addresses = ["127.0.0.1:1000".parse().unwrap(), "127.0.0.1:2000".parse().unwrap()];
        Self { now, agents, addresses, lose, sent: 0, events: Default::default() }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.exchange();
            let next = self.agents.iter().filter_map(Agent::poll_timeout).min();
            match next {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => break,
            }
            for agent in &mut self.agents {
                agent.handle_timeout(self.now);
            }
        }
        self.now = end;
    }

    fn exchange(&mut self) {
        let mut quiet = false;
        while !quiet {
            quiet = true;
            for from in 0..2 {
                let to = 1 - from;
                while let Some((address, bytes)) = self.agents[from].poll_transmit() {
                    quiet = false;
                    self.sent += 1;
                    if address != self.addresses[to] || (self.lose)(self.sent) {
                        continue;
                    }
                    let message = Message::parse(&bytes).unwrap();
                    assert!(self.agents[to].handle_stun(&message, self.addresses[from], self.now));
                }
            }
            for (agent, events) in self.agents.iter_mut().zip(&mut self.events) {
                events.extend(std::iter::from_fn(|| agent.poll_event()));
            }
        }
    }
}

#[test]
fn both_select_the_pair_whoever_knows_the_other_first() {
    for knows in [0, 1] {
        let mut world = World::new([true, false], |_| false);
        let remote = world.addresses[1 - knows];
        let now = world.now;
        world.agents[knows].add_candidate(remote, 100, now);
        world.run(Duration::from_secs(2));
        assert_eq!(world.events[0], [Event::Selected(world.addresses[1])], "{knows}");
        assert_eq!(world.events[1], [Event::Selected(world.addresses[0])], "{knows}");
    }
}

#[test]
fn two_agents_in_the_same_role_settle_it() {
    for role in [true, false] {
        let mut world = World::new([role, role], |_| false);
        let (remote, now) = (world.addresses[1], world.now);
        world.agents[0].add_candidate(remote, 100, now);
        world.run(Duration::from_secs(3));
        assert!(world.agents.iter().all(|a| a.selected().is_some()), "{role}");
        assert_ne!(world.agents[0].controlling, world.agents[1].controlling);
    }
}

#[test]
fn a_lossy_wire_and_a_dead_candidate_only_cost_time() {
    let mut world = World::new([true, false], |n| n.wrapping_mul(2_654_435_761) >> 16 & 1 == 1);
    let (remote, now) = (world.addresses[1], world.now);
    world.agents[0].add_candidate("127.0.0.9:9".parse().unwrap(), 900, now);
    world.agents[0].add_candidate(remote, 100, now);
    world.run(Duration::from_secs(10));
    assert_eq!(world.agents[0].selected(), Some(world.addresses[1]));
    assert_eq!(world.agents[1].selected(), Some(world.addresses[0]));
}

#[test]
fn consent_keeps_a_session_and_its_loss_ends_it() {
    let mut world = World::new([true, false], |_| false);
    let (remote, now) = (world.addresses[1], world.now);
    world.agents[0].add_candidate(remote, 100, now);
    world.run(Duration::from_secs(120));
    assert!(world.agents.iter().all(|a| a.selected().is_some()));

    world.lose = |_| true;
    world.run(Duration::from_secs(31));

    assert_eq!(world.events[0].last(), Some(&Event::Failed));
    assert_eq!(world.events[1].last(), Some(&Event::Failed));
}

#[test]
fn without_any_answer_it_fails() {
    let mut world = World::new([true, false], |_| true);
    let (remote, now) = (world.addresses[1], world.now);
    world.agents[0].add_candidate(remote, 100, now);
    world.run(Duration::from_secs(31));
    assert_eq!(world.events[0], [Event::Failed]);
}

#[test]
fn a_check_with_a_wrong_password_or_name_is_not_ours() {
    let now = Instant::now();
    let mut agent = Agent::new(credentials("a"), false, 1);
    agent.set_remote(credentials("b"), now);
    let from = "127.0.0.1:2000".parse().unwrap();
    for (name, password) in
        [("afrag:bfrag", "wrong"), ("other:bfrag", credentials("a").pwd.as_str())]
    {
        let raw =
            Builder::new(Class::Request, &[1; 12]).username(name).role(true, 5).finish(password);
        assert!(!agent.handle_stun(&Message::parse(&raw).unwrap(), from, now), "{name}");
    }
    assert!(agent.poll_transmit().is_none());
    assert!(!agent.is_valid(from));
}
