//! Networks and containers on the real kernel. Needs root, `ip` and `nft`.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use hawser_lab::net::{LabNet, PodNet, connect_in, plan};
use hawser_lab::sandbox::{self, BIN, Container, Join, Mount, Process, Program, Request, Runner};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;

fn main() -> ExitCode {
    if let Some(code) = sandbox::main_if_asked() {
        return code;
    }
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("greet") => return greet(&args[2..]),
        Some("doomed-lab") => return doomed_lab(Path::new(&args[2])),
        _ => {}
    }
    if std::env::args().any(|arg| arg == "--list") {
        return ExitCode::SUCCESS;
    }
    assert!(
        nix::unistd::geteuid().is_root(),
        "these tests make network namespaces: run them as root"
    );
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        two_clusters_with_the_same_addresses().await;
        containers_see_their_own_files().await;
        exit_codes().await;
        joining_a_container().await;
        nothing_survives_a_killed_lab().await;
    });
    println!("sandbox: 5 tests passed");
    ExitCode::SUCCESS
}

/// A server that says its name to whoever connects.
fn greet(args: &[String]) -> ExitCode {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, args[0].parse().expect("a port")))
        .expect("listening");
    println!("listening");
    for stream in listener.incoming() {
        stream
            .and_then(|mut stream| stream.write_all(args[1].as_bytes()))
            .expect("greeting");
    }
    ExitCode::SUCCESS
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let dir =
            std::env::temp_dir().join(format!("hawser-lab-test-{name}-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("scratch")).expect("a directory");
        Scratch(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn exe() -> PathBuf {
    std::env::current_exe().expect("this program")
}

fn runner() -> Runner {
    Runner::new(&exe(), "test").expect("a runner")
}

fn program(words: &[&str], uid: u32) -> Program {
    Program {
        argv: words.iter().map(|word| word.to_string()).collect(),
        env: BTreeMap::from([("PATH".to_string(), "/usr/bin:/bin".to_string())]),
        cwd: None,
        uid,
        gid: uid,
        groups: Vec::new(),
    }
}

fn container(netns: &Path, dir: &Path, program: Program) -> Container {
    Container {
        netns: netns.to_path_buf(),
        hostname: "pod".to_string(),
        scratch: dir.join("scratch"),
        etc: BTreeMap::from([("hosts".to_string(), "10.1.0.2 pod\n".to_string())]),
        mounts: vec![Mount {
            source: exe().parent().expect("a directory").to_path_buf(),
            target: BIN.into(),
            read_only: true,
        }],
        program,
    }
}

/// This program inside a container.
fn inside() -> String {
    format!(
        "{BIN}/{}",
        exe().file_name().expect("a name").to_string_lossy()
    )
}

async fn output(process: &mut Process) -> (i32, String) {
    let (stdout, stderr) = process.take_output();
    let (mut out, mut err) = (String::new(), String::new());
    stdout
        .expect("stdout")
        .read_to_string(&mut out)
        .await
        .expect("reading");
    stderr
        .expect("stderr")
        .read_to_string(&mut err)
        .await
        .expect("reading");
    (process.wait().await, out + &err)
}

async fn ask(netns: &Path, ip: Ipv4Addr, port: u16) -> Result<String, String> {
    let to = SocketAddr::from((ip, port));
    let mut stream = connect_in(netns, to, Duration::from_secs(5))
        .await
        .map_err(|error| error.to_string())?;
    let mut said = String::new();
    stream
        .read_to_string(&mut said)
        .await
        .map_err(|error| error.to_string())?;
    Ok(said)
}

async fn greeter(runner: &Runner, netns: &Path, dir: &Path, port: &str, name: &str) -> Process {
    let program = program(&[&inside(), "greet", port, name], 0);
    let mut process = runner
        .start(&Request::Run(container(netns, dir, program)))
        .await
        .expect("a greeter");
    // It listens once it has said so.
    let mut stdout = process.take_output().0.expect("stdout");
    let mut said = [0; 10];
    stdout.read_exact(&mut said).await.expect("a line");
    process
}

async fn two_clusters_with_the_same_addresses() {
    let dir = Scratch::new("net");
    let lab = LabNet::create(&plan(2)).expect("networks");
    let runner = runner();
    let mut alive = Vec::new();
    let mut pods = Vec::new();
    for (node, name) in lab.nodes.iter().zip(["one", "two"]) {
        for number in 2..4 {
            let ip = Ipv4Addr::new(10, 1, 0, number);
            let pod = PodNet::create(&node.netns, &node.net, ip, u32::from(number))
                .expect("a pod's network");
            let said = format!("{name}-{number}");
            alive.push(greeter(&runner, pod.netns.path(), &dir.0, "80", &said).await);
            pods.push(pod);
        }
        alive.push(greeter(&runner, node.netns.path(), &dir.0, "7000", name).await);
    }
    let (first, second) = (Ipv4Addr::new(10, 1, 0, 2), Ipv4Addr::new(10, 1, 0, 3));
    let (node1, node2) = (&lab.nodes[0], &lab.nodes[1]);
    let cases = [
        ("node to its pod", node1.netns.path(), first, 80, "one-2"),
        ("pod to pod", pods[0].netns.path(), second, 80, "one-3"),
        ("pod to itself", pods[0].netns.path(), first, 80, "one-2"),
        (
            "the same address in the other cluster",
            pods[2].netns.path(),
            second,
            80,
            "two-3",
        ),
        (
            "node to node",
            node1.netns.path(),
            node2.net.node_ip,
            7000,
            "two",
        ),
        (
            "pod to its node",
            pods[0].netns.path(),
            node1.net.node_ip,
            7000,
            "one",
        ),
        (
            "pod to the other node",
            pods[0].netns.path(),
            node2.net.node_ip,
            7000,
            "two",
        ),
    ];
    for (name, from, ip, port, expected) in cases {
        assert_eq!(ask(from, ip, port).await.as_deref(), Ok(expected), "{name}");
    }
    assert!(
        ask(lab.wan.path(), first, 80).await.is_err(),
        "no route to pods from outside"
    );
}

async fn containers_see_their_own_files() {
    let dir = Scratch::new("files");
    let volume = dir.0.join("volume");
    std::fs::create_dir(&volume).expect("a volume");
    std::fs::write(volume.join("here"), "volume").expect("a file");
    let node = hawser_lab::net::Netns::create().expect("a namespace");
    let script = "cat /etc/hosts /var/run/secrets/x/here; echo written > /etc/hawser-trace; \
                  hostname; id -u; echo $$; ls /sys/class/net; touch /var/run/secrets/x/no 2>/dev/null && echo writable";
    let mut container = container(node.path(), &dir.0, program(&["sh", "-c", script], 0));
    container.mounts.push(Mount {
        source: volume,
        target: "/var/run/secrets/x".into(),
        read_only: true,
    });
    let runner = runner();
    let mut process = runner
        .start(&Request::Run(container))
        .await
        .expect("a container");
    let (code, said) = output(&mut process).await;
    assert_eq!(said, "10.1.0.2 pod\nvolumepod\n0\n2\nlo\n");
    assert_eq!(code, 1, "the volume is read-only");
    assert!(
        !Path::new("/etc/hawser-trace").exists(),
        "a container wrote to the host"
    );
    assert_eq!(
        std::fs::read_dir(dir.0.join("scratch"))
            .expect("scratch")
            .count(),
        0,
        "a mount is left"
    );
}

async fn exit_codes() {
    let dir = Scratch::new("codes");
    let node = hawser_lab::net::Netns::create().expect("a namespace");
    let runner = runner();
    for (words, uid, expected) in [
        (&["true"][..], 0, Ok(0)),
        (&["sh", "-c", "exit 3"], 0, Ok(3)),
        (&["sh", "-c", "kill -9 $$"], 0, Ok(137)),
        (&["sh", "-c", "exit $(id -u | cut -c1-2)"], 1337, Ok(13)),
        (
            &["no-such-command"],
            0,
            Err("exec \"no-such-command\": No such file or directory (os error 2)"),
        ),
    ] {
        let request = Request::Run(container(node.path(), &dir.0, program(words, uid)));
        let given = match runner.start(&request).await {
            Ok(mut process) => Ok(process.wait().await),
            Err(error) => Err(error.to_string()),
        };
        assert_eq!(given, expected.map_err(String::from), "{words:?}");
    }
    let request = Request::Run(container(node.path(), &dir.0, program(&["sleep", "60"], 0)));
    let mut process = runner.start(&request).await.expect("sleep");
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().await, 143, "SIGTERM reaches the command");
}

async fn joining_a_container() {
    let dir = Scratch::new("join");
    let node = hawser_lab::net::Netns::create().expect("a namespace");
    let runner = runner();
    let request = Request::Run(container(node.path(), &dir.0, program(&["sleep", "60"], 0)));
    let process = runner.start(&request).await.expect("sleep");
    let join = Join {
        pid: process.init_pid(),
        program: program(&["sh", "-c", "cat /etc/hosts; hostname; pgrep sleep"], 0),
    };
    let mut joined = runner.start(&Request::Join(join)).await.expect("joining");
    assert_eq!(
        output(&mut joined).await,
        (0, "10.1.0.2 pod\npod\n2\n".to_string())
    );
    drop(process);
}

/// A lab that will be killed: prints the processes it made and the inode of its network, and waits.
fn doomed_lab(dir: &Path) -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let lab = LabNet::create(&plan(1)).expect("networks");
        let request = Request::Run(container(
            lab.nodes[0].netns.path(),
            dir,
            program(&["sleep", "600"], 1337),
        ));
        let runner = runner();
        let process = runner.start(&request).await.expect("sleep");
        println!("{}", process.init_pid());
        std::io::stdout().flush().expect("telling");
        std::future::pending::<()>().await;
        drop(process);
    });
    ExitCode::SUCCESS
}

async fn nothing_survives_a_killed_lab() {
    let dir = Scratch::new("killed");
    let mut lab = std::process::Command::new(exe())
        .arg("doomed-lab")
        .arg(&dir.0)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("a lab");
    let mut text = String::new();
    let mut stdout = lab.stdout.take().expect("stdout");
    while !text.ends_with('\n') {
        let mut byte = [0];
        stdout.read_exact(&mut byte).expect("a process id");
        text.push(char::from(byte[0]));
    }
    let init = Pid::from_raw(text.trim().parse().expect("a process id"));
    let netns = std::fs::metadata(format!("/proc/{init}/ns/net"))
        .expect("its namespace")
        .ino();
    kill(
        Pid::from_raw(i32::try_from(lab.id()).expect("a pid")),
        Signal::SIGKILL,
    )
    .expect("killing the lab");
    lab.wait().expect("the lab's end");
    let deadline = Instant::now() + Duration::from_secs(10);
    while holders(netns) > 0 {
        assert!(
            Instant::now() < deadline,
            "a process of the killed lab lives on"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(
        std::fs::read_dir(dir.0.join("scratch"))
            .expect("scratch")
            .count(),
        0,
        "a mount is left"
    );
}

/// How many processes are in the network namespace with this inode.
fn holders(netns: u64) -> usize {
    let entries = std::fs::read_dir("/proc").expect("/proc");
    entries
        .filter_map(|entry| std::fs::metadata(entry.ok()?.path().join("ns/net")).ok())
        .filter(|namespace| namespace.ino() == netns)
        .count()
}
