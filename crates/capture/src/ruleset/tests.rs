//! Flags in, the rules of the chains out.

use clap::Parser;

use super::ruleset;
use crate::args::{CaptureArgs, nameservers};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    capture: CaptureArgs,
}

fn rules_of(flags: &str) -> Result<String, String> {
    let words = std::iter::once("capture").chain(flags.split_whitespace());
    let cli = Cli::try_parse_from(words.map(|word| word.trim_matches('\'')))
        .map_err(|error| error.to_string())?;
    let servers = vec!["10.96.0.10".parse().unwrap(), "fd00::10".parse().unwrap()];
    cli.capture
        .settings(servers)
        .map(|settings| ruleset(&settings))
        .map_err(|error| error.to_string())
}

/// The rules of one chain of one family, without its hook.
fn chain<'a>(rules: &'a str, family: &str, name: &str) -> Vec<&'a str> {
    let table = rules
        .split(&format!("table {family} istio_proxy {{\n"))
        .nth(1)
        .unwrap_or("");
    let table = table.split("\n}\n").next().unwrap_or("");
    let body = table
        .split(&format!("  chain {name} {{\n"))
        .nth(1)
        .unwrap_or("");
    let body = body.split("  }").next().unwrap_or("");
    body.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("type "))
        .collect()
}

fn check(flags: &str, family: &str, name: &str, expected: &[&str]) {
    let rules = rules_of(flags).unwrap();
    assert_eq!(
        chain(&rules, family, name),
        expected,
        "flags {flags:?}, chain {family} {name}"
    );
}

const INJECTED: &str =
    "-p 15001 -z 15006 -u 1337 -m REDIRECT -i * -x '' -b * -d 15090,15021,15020 --redirect-dns";

#[test]
fn what_the_injector_asks_for() {
    check(
        INJECTED,
        "ip",
        "inbound",
        &[
            "tcp dport 15008 return",
            "tcp dport 15090 return",
            "tcp dport 15021 return",
            "tcp dport 15020 return",
            "jump to_inbound",
        ],
    );
    check(
        INJECTED,
        "ip",
        "outbound",
        &[
            "oifname \"lo\" ip saddr 127.0.0.6 return",
            "oifname \"lo\" ip daddr 127.255.0.0/16 meta skuid != 1337 meta skgid != 1337 jump to_outbound",
            "oifname \"lo\" ip daddr != 127.0.0.1 tcp dport != { 53, 15008 } meta skuid 1337 jump to_inbound",
            "oifname \"lo\" tcp dport != 53 meta skuid != 1337 return",
            "meta skuid 1337 return",
            "oifname \"lo\" ip daddr != 127.0.0.1 tcp dport != { 53, 15008 } meta skgid 1337 jump to_inbound",
            "oifname \"lo\" tcp dport != 53 meta skgid != 1337 return",
            "meta skgid 1337 return",
            "ip daddr 10.96.0.10 tcp dport 53 redirect to :15053",
            "ip daddr 10.96.0.10 udp dport 53 redirect to :15053",
            "ip daddr 127.0.0.1 return",
            "jump to_outbound",
        ],
    );
    check(
        INJECTED,
        "ip",
        "to_inbound",
        &["meta l4proto tcp redirect to :15006"],
    );
    check(
        INJECTED,
        "ip",
        "to_outbound",
        &["meta l4proto tcp redirect to :15001"],
    );
    check(
        INJECTED,
        "ip",
        "dns_output",
        &[
            "udp dport 53 meta skuid 1337 ct zone set 1 return",
            "udp sport 15053 meta skuid 1337 ct zone set 2 return",
            "udp dport 53 meta skgid 1337 ct zone set 1 return",
            "udp sport 15053 meta skgid 1337 ct zone set 2 return",
            "ip daddr 10.96.0.10 udp dport 53 ct zone set 2",
        ],
    );
    check(
        INJECTED,
        "ip",
        "dns_input",
        &["ip saddr 10.96.0.10 udp sport 53 ct zone set 1"],
    );
    check(INJECTED, "ip6", "outbound", &[]);
}

#[test]
fn inclusions_and_exclusions() {
    check(
        "-b 80,8080",
        "ip",
        "inbound",
        &[
            "tcp dport 15008 return",
            "tcp dport 80 jump to_inbound",
            "tcp dport 8080 jump to_inbound",
        ],
    );
    check("-b ''", "ip", "inbound", &["tcp dport 15008 return"]);
    let owners = &[
        "oifname \"lo\" ip daddr != 127.0.0.1 tcp dport != 15008 meta skuid 7 jump to_inbound",
        "oifname \"lo\" meta skuid != 7 return",
        "meta skuid 7 return",
        "oifname \"lo\" ip daddr != 127.0.0.1 tcp dport != 15008 meta skgid 9 jump to_inbound",
        "oifname \"lo\" meta skgid != 9 return",
        "meta skgid 9 return",
    ];
    let with = |before: &[&'static str], after: &[&'static str]| {
        [before, owners.as_slice(), after].concat()
    };
    check(
        "-u 7 -g 9 -i 10.0.0.0/8,fd00::/8 -x 10.1.0.0/16 -q 9000 -o 3306",
        "ip",
        "outbound",
        &with(
            &[
                "meta l4proto { tcp, udp } th dport 3306 return",
                "oifname \"lo\" ip saddr 127.0.0.6 return",
            ],
            &[
                "ip daddr 127.0.0.1 return",
                "ip daddr 10.1.0.0/16 return",
                "tcp dport 9000 jump to_outbound",
                "ip daddr 10.0.0.0/8 jump to_outbound",
            ],
        ),
    );
    check(
        "-u 7 -g 9 -x 127.255.9.9",
        "ip",
        "outbound",
        &with(
            &[
                "oifname \"lo\" ip saddr 127.0.0.6 return",
                "oifname \"lo\" ip daddr 127.255.9.9/32 return",
                "oifname \"lo\" ip daddr 127.255.0.0/16 meta skuid != 7 meta skgid != 9 jump to_outbound",
            ],
            &[
                "ip daddr 127.0.0.1 return",
                "ip daddr 127.255.9.9/32 return",
                "jump to_outbound",
            ],
        ),
    );
    check(
        "-c eth9",
        "ip",
        "output",
        &["oifname \"eth9\" return", "jump outbound"],
    );
    check(
        "-c eth9 -k vm0 -i 10.0.0.0/8",
        "ip",
        "prerouting",
        &[
            "iifname \"eth9\" return",
            "iifname \"vm0\" ip daddr 10.0.0.0/8 jump to_outbound",
            "iifname \"vm0\" return",
            "meta l4proto tcp jump inbound",
        ],
    );
    check(
        "--dual-stack --redirect-dns",
        "ip6",
        "dns_input",
        &["ip6 saddr fd00::10 udp sport 53 ct zone set 1"],
    );
    check(
        "--capture-all-dns",
        "ip",
        "dns_input",
        &["udp sport 53 ct zone set 1"],
    );
    check("", "ip", "dns_output", &[]);
}

#[test]
fn mistakes_name_the_flag() {
    for (flags, expected) in [
        (
            "-b 0",
            "--istio-inbound-ports: \"0\" is not a port from 1 to 65535, or \"*\" alone",
        ),
        (
            "-d 80,http",
            "--istio-local-exclude-ports: \"http\" is not a port from 1 to 65535",
        ),
        (
            "-x 10.0.0.0/33",
            "--istio-service-exclude-cidr: \"10.0.0.0/33\" is not an address range such as 10.0.0.0/8",
        ),
        (
            "-c a\"b",
            "--istio-exclude-interfaces: \"a\\\"b\" is not the name of a network interface",
        ),
        (
            "-m TPROXY",
            "--istio-inbound-interception-mode: \"TPROXY\" is not REDIRECT, the only mode there is",
        ),
    ] {
        assert_eq!(rules_of(flags).unwrap_err(), expected, "{flags}");
    }
}

#[test]
fn the_flags_are_consistent() {
    use clap::CommandFactory;
    Cli::command().debug_assert();
}

#[test]
fn nameservers_of_resolv_conf() {
    let text = "# nameserver 1.1.1.1\nsearch a b\nnameserver 10.0.0.10\nnameserver\t::1 x\nnameserver nonsense\n";
    assert_eq!(
        nameservers(text),
        [
            "10.0.0.10".parse::<std::net::IpAddr>().unwrap(),
            "::1".parse().unwrap()
        ]
    );
}
