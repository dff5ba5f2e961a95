//! The built binary as people start it: which layer wins, what each mistake is told, exit codes, and a running server
//! that reads its policies again.

#[path = "store/samples.rs"]
#[allow(dead_code, reason = "the store's tests use the rest")]
mod samples;

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Output, Stdio},
    sync::Arc,
    time::Duration,
};

use fuseboard::{
    pb::{
        AcquireRequest, GetPolicyRequest, ResetRequest, admin_service_client::AdminServiceClient,
        breaker_service_client::BreakerServiceClient,
    },
    store::{Change, Commit, Disk, DiskOptions, Document, Merge, Record, Store as _, Version},
};
use rcgen::{CertificateParams, KeyPair};

/// The binary, with nothing of ours in its environment but what a test sets.
fn fuseboard(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fuseboard"));
    command.args(arguments).env_remove("NO_COLOR");
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FUSEBOARD_")) {
        command.env_remove(name);
    }
    command
}

/// What a run printed and how it ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(command: &mut Command) -> Ended {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// A file of this test alone.
fn file(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{name}.toml"));
    fs::write(&path, text).unwrap();
    path
}

fn refused(command: &mut Command) -> String {
    let ended = run(command);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{}", ended.stderr);
    ended.stderr
}

// Layers.

/// A setting, and a value of it for each layer: flag, environment, file, default.
const LAYERS: [(&str, [&str; 4]); 13] = [
    ("address", ["\"127.0.0.1:1\"", "\"127.0.0.1:2\"", "\"127.0.0.1:3\"", "\"127.0.0.1:50051\""]),
    ("http_address", ["\"127.0.0.1:4\"", "\"off\"", "\"127.0.0.1:6\"", "\"127.0.0.1:8080\""]),
    ("threads", ["1", "2", "3", "0"]),
    ("ephemeral", ["true", "false", "true", "false"]),
    ("on_damage", ["\"stop\"", "\"set-aside\"", "\"stop\"", "\"set-aside\""]),
    ("on_clock_jump", ["\"accept\"", "\"stop\"", "\"accept\"", "\"stop\""]),
    ("manual_clock", ["true", "false", "true", "false"]),
    ("drain_grace", ["\"1s\"", "\"2s\"", "\"3s\"", "\"10s\""]),
    ("log", ["\"warn\"", "\"debug\"", "\"error\"", "\"info\""]),
    ("log_format", ["\"json\"", "\"text\"", "\"json\"", "\"text\""]),
    ("limits.max_breakers", ["11", "12", "13", "100000"]),
    ("limits.event_log_age", ["\"1h\"", "\"2h\"", "\"3h\"", "\"30days\""]),
    ("limits.header_list_bytes", ["\"1KiB\"", "\"2KiB\"", "\"3KiB\"", "\"16KiB\""]),
];

/// Where each value of the settings above comes from when only these layers say something.
fn in_layers(flags: bool, environment: bool, config: bool) -> Ended {
    let mut command = fuseboard(&["--check-config"]);
    let mut text = String::new();
    for (key, [flag, variable, written, _]) in LAYERS {
        let name = key.rsplit('.').next().unwrap();
        if flags {
            command.arg(format!("--{}={}", name.replace('_', "-"), flag.trim_matches('"')));
        }
        if environment {
            command.env(format!("FUSEBOARD_{}", name.to_uppercase()), variable.trim_matches('"'));
        }
        text += &format!("{key} = {written}\n");
    }
    if config {
        command.arg("--config").arg(file("layers", &text));
    }
    run(&mut command)
}

#[test]
fn a_flag_wins_over_the_environment_over_the_file_over_the_default() {
    for layers in 0..8 {
        let [flags, environment, config] = [4, 2, 1].map(|layer| layers & layer != 0);
        let ended = in_layers(flags, environment, config);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        let strongest = [flags, environment, config, true].into_iter().position(|says| says).unwrap();
        for (line, (key, values)) in LAYERS.into_iter().enumerate() {
            let name = key.rsplit('.').next().unwrap();
            let origin = match strongest {
                0 => format!("--{}", name.replace('_', "-")),
                1 => format!("FUSEBOARD_{}", name.to_uppercase()),
                2 => format!("{}:{}", file_path("layers"), line + 1),
                _ => "default".to_owned(),
            };
            let expected = format!("\n{name} = {} # {origin}\n", values[strongest]);
            assert!(format!("\n{}", ended.stdout).contains(&expected), "no {expected:?} in\n{}", ended.stdout);
        }
    }
}

fn file_path(name: &str) -> String {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{name}.toml")).display().to_string()
}

#[test]
fn flags_mean_the_same_with_and_without_the_verb() {
    let flags = ["--check-config", "--threads", "3", "--manual-clock", "--max-breakers=1_000"];
    let without = run(&mut fuseboard(&flags));
    let with = run(fuseboard(&["serve"]).args(flags));
    assert_eq!(without.code, Some(0));
    assert_eq!(without.stdout, with.stdout);
    assert!(with.stdout.contains("max_breakers = 1000 # --max-breakers\n"), "{}", with.stdout);
    assert!(with.stdout.contains("manual_clock = true # --manual-clock\n"), "{}", with.stdout);
}

#[test]
fn an_empty_variable_is_not_set() {
    let ended = run(fuseboard(&["--check-config"]).env("FUSEBOARD_THREADS", "").env("FUSEBOARD_CONFIG", ""));
    assert_eq!(ended.code, Some(0));
    assert!(ended.stdout.contains("threads = 0 # default\n"));
}

#[test]
fn the_file_can_be_named_by_a_variable_and_a_flag_names_another() {
    let (three, four) = (file("three", "threads = 3"), file("four", "threads = 4"));
    let by_variable = run(fuseboard(&["--check-config"]).env("FUSEBOARD_CONFIG", &three));
    assert!(by_variable.stdout.contains("threads = 3 #"), "{by_variable:?}");
    let by_flag = run(fuseboard(&["--check-config", "--config"]).arg(&four).env("FUSEBOARD_CONFIG", &three));
    assert!(by_flag.stdout.contains("threads = 4 #"), "{by_flag:?}");
}

#[test]
fn what_check_config_prints_is_a_file_that_means_the_same() {
    let text = r#"
        limits = { max_policies = 0x10, unary_message_bytes = 4096 }
        [default_policy]
        failure_threshold = "off"
        failure_rate_threshold = 1
        window = { duration = "1m 30s" }
        open_backoff = { jitter = 0.5 }
        [[policy]]
        pattern = "payments/*"
        slow_call_duration = "500ms"
        slow_call_rate_threshold = 0.25
        window = { calls = 100 }
        half_open_max_duration = 0
        retry_after_max = "off"
        expired_permit = "timeout"
        [[policy]]
        pattern = "a:b_c-d.e*"
        open_backoff = "off"
        lease = "2s"
    "#;
    let values =
        |printed: &str| printed.lines().map(|line| line.split(" #").next().unwrap().to_owned()).collect::<Vec<_>>();
    let first = run(fuseboard(&["--check-config", "--config"]).arg(file("printed", text)));
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    let again = run(fuseboard(&["--check-config", "--config"]).arg(file("printed-again", &first.stdout)));
    assert_eq!(values(&first.stdout), values(&again.stdout));
    for line in [
        "max_policies = 16",
        "unary_message_bytes = 4096",
        "failure_threshold = \"off\"",
        "failure_rate_threshold = 1.0",
        "minimum_calls = 20",
        "window = { duration = \"1m 30s\", slices = 10 }",
        "open_backoff = { multiplier = 2.0, jitter = 0.5 }",
        "pattern = \"payments/*\"",
        "window = { calls = 100 }",
        "half_open_max_duration = \"off\"",
        "expired_permit = \"timeout\"",
        "open_backoff = \"off\"",
    ] {
        assert!(values(&first.stdout).contains(&line.to_owned()), "no {line:?} in\n{}", first.stdout);
    }
}

// Mistakes.

#[test]
fn each_mistake_names_its_flag_or_variable_and_what_is_allowed() {
    let cases: [(&str, &str, &str); 17] = [
        ("address", "example.org:1", "must be IP:PORT, as 127.0.0.1:50051 or [::1]:50051, not \"example.org:1\""),
        ("threads", "1025", "must be a whole number, 0 to 1,024, not \"1025\""),
        ("threads", "-1", "must be a whole number, 0 to 1,024, not \"-1\""),
        ("data_dir", " ", "must be a path, or \"auto\""),
        ("ephemeral", "perhaps", "must be true or false, not \"perhaps\""),
        ("on_damage", "panic", "must be set-aside or stop, not \"panic\""),
        (
            "event_log_age",
            "a month",
            "must be a length of time with its unit, as \"500ms\", \"30s\", \"5m\" or \"1h\", not \"a month\"",
        ),
        ("manual_clock", "maybe", "must be true or false, not \"maybe\""),
        (
            "drain_grace",
            "10",
            "must be a length of time with its unit, as \"500ms\", \"30s\", \"5m\" or \"1h\", not \"10\"",
        ),
        ("drain_grace", "11m", "must be 0s to 10m, not \"11m\""),
        ("stream_max_age", "0", "must be 1s to 1day, not \"0\""),
        (
            "log",
            "inof",
            "must be a level (error, warn, info, debug, trace, off), or levels by module as \"warn,fuseboard=debug\", not \"inof\": \"inof\" is not a level",
        ),
        ("log_format", "xml", "must be text or json, not \"xml\""),
        ("max_breakers", "0", "must be a whole number, 1 to 10,000,000, not \"0\""),
        ("max_breakers", "many", "must be a whole number, 1 to 10,000,000, not \"many\""),
        ("header_list_bytes", "16KB", "must be a size as \"1KiB\" or a number of bytes, 1KiB to 1MiB, not \"16KB\""),
        ("header_list_bytes", "2MiB", "must be a size as \"1KiB\" or a number of bytes, 1KiB to 1MiB, not \"2MiB\""),
    ];
    for (name, value, message) in cases {
        let flag = format!("--{}", name.replace('_', "-"));
        assert_eq!(refused(&mut fuseboard(&[&format!("{flag}={value}")])), format!("error: {flag} {message}\n"));
        let variable = format!("FUSEBOARD_{}", name.to_uppercase());
        assert_eq!(refused(fuseboard(&[]).env(&variable, value)), format!("error: {variable} {message}\n"));
    }
}

/// Each line at fault is followed by what is told about it, one comment for each error.
const MISTAKES: &str = r#"
address = "nope" # address must be IP:PORT, as 127.0.0.1:50051 or [::1]:50051, not "nope"
max_breakers = 5 # max_breakers is not a setting: did you mean limits.max_breakers?
Threads = 3 # Threads is not a setting: did you mean threads?
drain_grace = 10 # drain_grace must be a length of time with its unit, as "500ms", "30s", "5m" or "1h", not "10"
log_format = "xml" # log_format must be text or json, not "xml"
manual_clock = 1 # manual_clock must be true or false, not "1"
config = "other.toml" # config is not a setting

[limits]
max_breaker = 7 # limits.max_breaker is not a setting: did you mean limits.max_breakers?
max-watchers = 5 # limits.max-watchers is not a setting: did you mean limits.max_watchers?
max_policies = 0x0 # limits.max_policies must be a whole number, 1 to 1,000,000, not "0"
max_connections = [1] # limits.max_connections must be a single value, not an array
colour = "red" # limits.colour is not a setting

[default_policy]
failure_treshold = 5 # default_policy: failure_treshold is not a field of a policy: did you mean failure_threshold?
failure_threshold = 20_000 # default_policy: failure_threshold must be 0 (off) to 10000, not 20000
open_duration = 30 # default_policy: open_duration must be a length of time in quotes, as "30s", not 30
lease = "off" # default_policy: lease must be a length of time with its unit, as "500ms", "30s", "5m" or "1h", not "off"
window = { duration = "1ms" } # default_policy: window.duration must be 10 ms to 24 h, not 1ms
open_backoff = { multiplier = 2, jiter = 0.1 } # default_policy: open_backoff has jiter, which is not one of multiplier, max_duration, jitter: did you mean jitter?
minimum_calls = -1 # default_policy: minimum_calls must be a whole number, not -1
probes = 99999999999 # default_policy: probes is too large: 99999999999
failure_rate_threshold = nan # default_policy: failure_rate_threshold must be a ratio from 0 to 1, not NaN
pattern = "*" # default_policy: pattern is not a field of a policy

[[policy]]
pattern = "pay ments/*" # policy "pay ments/*": pattern must be made of A-Z a-z 0-9 . _ - : / and * for any run of them, not ' '
failure_rate_threshold = "50%" # policy "pay ments/*": failure_rate_threshold must be a ratio from 0 to 1 or "off", not "50%"
expired_probe = "succes" # policy "pay ments/*": expired_probe must be "failure", "timeout" or "ignored", not "succes"
open_backoff = { multiplier = 200.0 } # policy "pay ments/*": open_backoff.multiplier must be 1 to 100, not 200

[[policy]] # policy has no pattern: say which keys it is for, as pattern = "payments/*"
failure_rate_threshold = 1.5 # policy: failure_rate_threshold must be a ratio from 0 to 1, not 1.5

[[policy]]
pattern = "a"
window = { calls = 10, slices = 4 } # policy "a": window must be one of { duration = "30s", slices = 10 } or { calls = 100 }

[[policy]] # policy "a" is there already: write its fields in one place
pattern = "a"
slow_call_duration = "2h" # policy "a": slow_call_duration must be 0 (off), or 1 ms to 1 h, not 2 h
monitoring_period = 5 # policy "a": monitoring_period must be a length of time in quotes, as "30s", not 5; or "off"

[[policy]]
pattern = 5 # policy: pattern must be a string, not an integer

[[policy]]
pattern = "" # policy "": pattern must be 1 to 200 bytes long, not 0
"#;

#[test]
fn a_file_is_told_all_its_mistakes_with_their_lines() {
    let path = file("mistakes", MISTAKES);
    let lines = MISTAKES.lines().zip(1..).filter_map(|(line, number)| Some((number, line.split_once(" # ")?.1)));
    let expected: String =
        lines.map(|(number, message)| format!("error: {}:{number}: {message}\n", path.display())).collect();
    assert_eq!(refused(fuseboard(&["--config"]).arg(&path)), expected);
    // Not only when it is started: also when it is asked.
    assert_eq!(refused(fuseboard(&["serve", "--check-config", "--config"]).arg(&path)), expected);
}

#[test]
fn mistakes_of_all_layers_are_told_at_once() {
    let path = file("layered-mistakes", "log = 'loud'\nthreads = 5000");
    let path = path.to_str().unwrap();
    let told = refused(fuseboard(&["--config", path, "--threads", "many"]).env("FUSEBOARD_LOG_FORMAT", "xml"));
    let places: Vec<&str> = told.lines().map(|line| line.split(" must").next().unwrap()).collect();
    let in_file = [format!("error: {path}:1: log"), format!("error: {path}:2: threads")];
    assert_eq!(places, ["error: --threads", "error: FUSEBOARD_LOG_FORMAT", &in_file[0], &in_file[1]]);
}

#[test]
fn tables_of_the_wrong_kind_are_told() {
    let path = file("kinds", "limits = 4\npolicy = 3\ndefault_policy = 1");
    let at = path.display();
    let expected = format!(
        "error: {at}:1: limits must be a table, not an integer\n\
         error: {at}:2: policy must be written as [[policy]], once for each pattern\n\
         error: {at}:3: default_policy must be a table, not an integer\n"
    );
    assert_eq!(refused(fuseboard(&["--config"]).arg(&path)), expected);
}

#[test]
fn a_file_that_is_no_toml_is_told_its_lines() {
    let path = file("syntax", "threads = \nlog = \"x\n");
    let told = refused(fuseboard(&["--config"]).arg(&path));
    let at = path.display();
    assert!(told.starts_with(&format!("error: {at}:1: ")) && told.contains(&format!("error: {at}:2: ")), "{told}");
}

#[test]
fn a_file_that_is_not_there_is_told_by_who_named_it() {
    let told = refused(&mut fuseboard(&["--config", "none.toml"]));
    assert!(told.starts_with("error: --config names none.toml, which cannot be read: "), "{told}");
    let told = refused(fuseboard(&[]).env("FUSEBOARD_CONFIG", "none.toml"));
    assert!(told.starts_with("error: FUSEBOARD_CONFIG names none.toml, which cannot be read: "), "{told}");
}

#[test]
fn a_manual_clock_stays_on_loopback() {
    let told = refused(fuseboard(&["--manual-clock"]).env("FUSEBOARD_ADDRESS", "0.0.0.0:1"));
    let allowed = "is for tests and needs a loopback address, as 127.0.0.1:50051";
    assert_eq!(told, format!("error: --manual-clock {allowed}; the address is 0.0.0.0:1 (FUSEBOARD_ADDRESS)\n"));
    let path = file("clock", "\nmanual_clock = true");
    let told = refused(fuseboard(&["--address", "[::]:1", "--config"]).arg(&path));
    assert_eq!(
        told,
        format!("error: {}:2: manual_clock {allowed}; the address is [::]:1 (--address)\n", path.display())
    );
}

#[test]
fn a_directory_is_named_only_for_what_is_kept() {
    let told = refused(fuseboard(&["--ephemeral"]).env("FUSEBOARD_DATA_DIR", "/data"));
    let reason = "keeps nothing, and yet data_dir is /data";
    assert_eq!(told, format!("error: --ephemeral {reason} (FUSEBOARD_DATA_DIR): leave out one of them\n"));
    let path = file("home", "data_dir = '/data'");
    let told = refused(fuseboard(&["--manual-clock", "--config"]).arg(&path));
    assert_eq!(told, format!("error: --manual-clock {reason} ({}:1): leave out one of them\n", path.display()));
    let ended = run(&mut fuseboard(&["--check-config", "--ephemeral", "--data-dir", "auto"]));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn where_state_is_kept_is_told_in_full() {
    let data_dir = |command: &mut Command| {
        let ended = run(command);
        let line = ended.stdout.lines().find(|line| line.starts_with("data_dir")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{ended:?}"))
    };
    let mut command = fuseboard(&["--check-config"]);
    assert_eq!(data_dir(command.env("XDG_STATE_HOME", "/state")), "data_dir = \"/state/fuseboard\" # default");
    assert_eq!(data_dir(command.arg("--data-dir=here")), "data_dir = \"here\" # --data-dir");
    assert_eq!(data_dir(&mut fuseboard(&["--check-config", "--ephemeral"])), "data_dir = \"auto\" # default");
}

#[test]
fn more_policies_than_the_limit_are_refused() {
    let path = file("policies", "[[policy]]\npattern = 'a'\n[[policy]]\npattern = 'b'");
    let told = refused(fuseboard(&["--max-policies", "1", "--config"]).arg(&path));
    let expected = "2 policies are more than limits.max_policies, which is 1: raise it";
    assert_eq!(told, format!("error: {}: {expected}\n", path.display()));
}

#[test]
fn what_is_no_argument_is_misuse() {
    let told = refused(&mut fuseboard(&["--max-braekers", "1"]));
    assert!(told.contains("'--max-breakers'"), "{told}");
    assert!(refused(&mut fuseboard(&["juggle"])).contains("'juggle'"));
    assert!(refused(&mut fuseboard(&["--threads"])).contains("--threads <COUNT>"));
    assert!(refused(&mut fuseboard(&["--threads", "1", "--threads", "2"])).contains("multiple times"));
}

#[test]
fn a_network_without_tls_is_refused_unless_it_is_meant() {
    let reason = "which others than this machine can reach, and there is no TLS: set tls_cert and tls_key, or \
                  insecure_network where something else protects the network";
    let told = refused(&mut fuseboard(&["--check-config", "--address", "0.0.0.0:1"]));
    assert_eq!(told, format!("error: --address is 0.0.0.0:1, {reason}\n"));
    let told = refused(fuseboard(&["--check-config"]).env("FUSEBOARD_HTTP_ADDRESS", "[::]:2"));
    assert_eq!(told, format!("error: FUSEBOARD_HTTP_ADDRESS is [::]:2, {reason}\n"));
    let with_tls = ["--check-config", "--address", "0.0.0.0:1", "--tls-cert", "a.pem", "--tls-key", "b.pem"];
    // What is left to say is that these files are not there.
    assert_eq!(
        refused(&mut fuseboard(&with_tls)),
        "error: --tls-cert: tls_cert: a.pem: No such file or directory (os error 2)\n\
         error: --tls-key: tls_key: b.pem: No such file or directory (os error 2)\n"
    );
}

/// A directory of this test alone.
fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{name}"));
    _ = fs::remove_dir_all(&path);
    fs::create_dir(&path).unwrap();
    path
}

#[test]
fn check_config_reads_the_files_that_a_start_needs() {
    let home = directory("preflight");
    let put = |name: &str, text: &str| {
        let path = home.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let keys = [KeyPair::generate().unwrap(), KeyPair::generate().unwrap()];
    let of_first = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&keys[0]).unwrap();
    let certificate = put("cert.pem", &of_first.pem());
    let [right, wrong] = [0, 1].map(|n| put(&format!("key-{n}.pem"), &keys[n].serialize_pem()));
    let missing = home.join("missing").display().to_string();
    let good = put("admin", "0123456789abcdef0123456789abcdef\n");
    let short = put("short", "hunter2\n");
    let webhook = |name: &str, secret: &str| {
        let text =
            format!("[[webhook]]\nname = 'oncall'\nurl = 'https://u:pw@a.example/T0/B0/x'\nsecret_file = {secret:?}\n");
        put(name, &text)
    };
    let check =
        |arguments: &[&str]| run(fuseboard(&["--check-config", "--data-dir"]).arg(home.join("data")).args(arguments));
    let tls = ["--tls-cert", &certificate, "--tls-key"];
    for (arguments, named, why) in [
        (&[&tls[..], &[&wrong]].concat()[..], "tls_key", "not the private key of tls_cert"),
        (&["--admin-token-file", &missing], "admin_token_file", "No such file"),
        (&["--admin-token-file", &short], "admin_token_file", "at least 32 bytes"),
        (&["--config", &webhook("a.toml", &missing)], "\"oncall\"", "No such file"),
        (&["--config", &webhook("b.toml", &short)], "\"oncall\"", "24 bytes or more"),
    ] {
        let ended = check(arguments);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(ended.stderr.contains(named) && ended.stderr.contains(why), "{arguments:?}: {}", ended.stderr);
        assert!(!ended.stderr.contains("hunter2"), "a secret is printed: {}", ended.stderr);
    }
    let with_secret = webhook("c.toml", &good);
    let whole = [&tls[..], &[&right, "--admin-token-file", &good, "--config", &with_secret]].concat();
    let ended = check(&whole);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    for secret in ["0123456789abcdef", "pw@", "T0/B0"] {
        assert!(!ended.stdout.contains(secret), "{secret} is printed: {}", ended.stdout);
    }
    // Readable by everybody.
    for path in [&good, &right] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    }
    fs::create_dir(home.join("data")).unwrap();
    fs::set_permissions(home.join("data"), fs::Permissions::from_mode(0o755)).unwrap();
    let ended = check(&whole);
    assert_eq!(ended.code, Some(0));
    for setting in ["admin_token_file", "tls_key", "data_dir", "secret_file"] {
        let warning = format!("warning: {setting} ");
        assert!(ended.stderr.contains(&warning), "no {warning:?}: {}", ended.stderr);
    }
}

#[test]
fn check_config_names_every_missing_file_and_where_it_is_named() {
    let path = file(
        "missing-files",
        "tls_cert = '/none/cert.pem'\ntls_key = '/none/key.pem'\n\n\
         [[webhook]]\nname = 'a'\nurl = 'https://a.example'\n\n\
         [[webhook]]\nname = 'oncall'\nurl = 'https://b.example'\nsecret_file = '/none/secret'\n",
    );
    let mut command = fuseboard(&["--check-config", "--tls-client-ca", "/none/ca.pem", "--config"]);
    let told = refused(command.arg(&path).env("FUSEBOARD_ADMIN_TOKEN_FILE", "/none/admin"));
    let (at, why) = (path.display(), "No such file or directory (os error 2)");
    assert_eq!(
        told,
        format!(
            "error: {at}:1: tls_cert: /none/cert.pem: {why}\n\
             error: {at}:2: tls_key: /none/key.pem: {why}\n\
             error: --tls-client-ca: tls_client_ca: /none/ca.pem: {why}\n\
             error: FUSEBOARD_ADMIN_TOKEN_FILE: admin_token_file /none/admin: {why}\n\
             error: {at}:8: secret_file /none/secret of webhook \"oncall\": {why}\n"
        )
    );
}

/// As [`MISTAKES`], for the tables of identities and webhooks.
const TABLE_MISTAKES: &str = r#"
[[identity]] # identity "ana" has no certificate: it must be a string, a DNS name or URI of the client certificate
name = "ana"
roles = ["reed"] # identity "ana": roles must be an array of "report", "read", "operate", "admin", not "reed"
prefix = ["a"] # identity "ana": prefix is not a field of [[identity]]: did you mean prefixes?
caller = 5 # identity "ana": caller must be a string, not an integer

[[webhook]]
name = "oncall"
url = "https://a.example"
format = "teams" # webhook "oncall": format must be "cloudevents" or "slack", not "teams"
kinds = "opened" # webhook "oncall": kinds must be an array of strings, as ["opened"], not a string
colour = "red" # webhook "oncall": colour is not a field of [[webhook]]: it has name, url, format, patterns, kinds, secret_file, retry_for
"#;

#[test]
fn mistakes_in_identities_and_webhooks_name_the_field_and_what_is_accepted() {
    let path = file("table-mistakes", TABLE_MISTAKES);
    let lines = TABLE_MISTAKES.lines().zip(1..).filter_map(|(line, number)| Some((number, line.split_once(" # ")?.1)));
    let expected: String =
        lines.map(|(number, message)| format!("error: {}:{number}: {message}\n", path.display())).collect();
    assert_eq!(refused(fuseboard(&["--config"]).arg(&path)), expected);
}

#[test]
fn a_setting_without_a_value_is_named_with_its_line() {
    for text in ["log = 'info'\nthreads = \n", "log = 'info'\nthreads =", "log = 'info'\nthreads = # two\n"] {
        let path = file("no-value", text);
        let expected =
            format!("error: {}:2: threads has no value: write one after the =, or remove the line\n", path.display());
        assert_eq!(refused(fuseboard(&["--config"]).arg(&path)), expected, "{text:?}");
    }
}

#[test]
fn help_is_a_command_too() {
    for arguments in [&["help"][..], &["help", "override", "set"], &["help", "store"]] {
        let ended = run(&mut fuseboard(arguments));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(ended.stdout.contains("Usage: fuseboard"), "{}", ended.stdout);
    }
}

#[test]
fn tls_needs_its_parts() {
    for (given, missing) in [("--tls-cert", "tls_key"), ("--tls-key", "tls_cert"), ("--tls-client-ca", "tls_cert")] {
        let told = refused(&mut fuseboard(&["--check-config", given, "a.pem"]));
        assert_eq!(told, format!("error: {given} needs {missing}, which is off\n"));
    }
}

#[test]
fn a_network_without_tls_and_a_misspelt_variable_are_warned_of() {
    let mut command = fuseboard(&["--check-config", "--address", "0.0.0.0:1", "--http-address", "[::]:2"]);
    command.arg("--insecure-network");
    // The second is what Kubernetes sets for a service called fuseboard.
    let ended = run(command.env("FUSEBOARD_MAX_BREAKER", "5").env("FUSEBOARD_PORT", "tcp://10.0.0.1:50051"));
    assert_eq!(ended.code, Some(0));
    let warnings = "warning: 0.0.0.0:1 is open to the network without TLS: whoever reaches it can trip, force and reset \
                    every breaker\n\
                    warning: [::]:2 is open to the network without TLS: whoever reaches it can trip, force and reset \
                    every breaker\n\
                    warning: FUSEBOARD_MAX_BREAKER is set, but is not a setting: did you mean FUSEBOARD_MAX_BREAKERS?\n";
    assert_eq!(ended.stderr, warnings);
}

// Help.

#[test]
fn help_groups_the_settings_and_says_how_it_exits() {
    let help = run(&mut fuseboard(&["--help"]));
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    let headings = [
        "Usage: ",
        "Commands:",
        "Options:",
        "Configuration:",
        "Server:",
        "Security:",
        "Log:",
        "Limits:",
        "Exit codes:",
        "Examples:",
    ];
    let places: Vec<usize> = headings
        .iter()
        .map(|heading| help.stdout.find(&format!("\n{heading}")).unwrap_or_else(|| panic!("no {heading:?}")))
        .collect();
    assert!(places.is_sorted(), "{places:?}");
    for text in ["[env: FUSEBOARD_THREADS]", "[default: 127.0.0.1:50051]", "--manual-clock[=<BOOL>]"] {
        assert!(help.stdout.contains(text), "no {text}");
    }
    for line in help.stdout.lines() {
        assert!(line.chars().count() <= 115, "too long: {line}");
    }
    let of_serve = run(&mut fuseboard(&["serve", "--help"]));
    assert!(of_serve.stdout.contains("--max-breakers <COUNT>"));
}

#[test]
fn help_keeps_the_values_of_variables_to_itself() {
    let help = run(fuseboard(&["--help"]).env("FUSEBOARD_LOG", "from-the-environment"));
    assert!(!help.stdout.contains("from-the-environment"));
}

#[test]
fn the_version_is_the_crates() {
    let ended = run(&mut fuseboard(&["--version"]));
    assert_eq!((ended.code, ended.stdout), (Some(0), format!("fuseboard {}\n", env!("CARGO_PKG_VERSION"))));
}

// A server that runs.

/// A server on a free port, and the lines of its log.
struct Server {
    process: Child,
    log: std::io::Lines<BufReader<ChildStderr>>,
}

impl Server {
    fn start(command: &mut Command) -> Self {
        let mut process = command
            .args(["--address", "127.0.0.1:0", "--http-address", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(process.stderr.take().unwrap()).lines();
        Self { process, log }
    }

    /// The next line of the log that has `text` in it.
    fn line_with(&mut self, text: &str) -> String {
        let mut seen = Vec::new();
        for line in self.log.by_ref() {
            let line = line.unwrap();
            if line.contains(text) {
                return line;
            }
            seen.push(line);
        }
        panic!("the log has ended without {text:?}: {seen:#?}")
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.process.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// The exit code after a SIGTERM.
    fn stop(mut self) -> Option<i32> {
        self.signal("TERM");
        self.process.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// The value of `field=value` in a line of the log.
fn field<'l>(line: &'l str, name: &str) -> &'l str {
    let start = line.find(&format!("{name}=")).unwrap_or_else(|| panic!("no {name} in {line}")) + name.len() + 1;
    line[start..].split(' ').next().unwrap()
}

#[test]
fn a_start_is_told_in_one_plain_line_and_a_stop_ends_well() {
    let mut server = Server::start(&mut fuseboard(&["serve", "--threads", "1", "--manual-clock"]));
    let line = server.line_with("serving");
    assert!(!line.contains('\u{1b}'), "colours are for terminals: {line:?}");
    assert!(!field(&line, "address").ends_with(":0"), "{line}");
    assert_eq!(
        [field(&line, "threads"), field(&line, "store"), field(&line, "clock")],
        ["1", "\"memory\"", "\"manual\""]
    );
    assert_eq!(field(&line, "version"), format!("{:?}", env!("CARGO_PKG_VERSION")));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn the_log_can_be_json_and_says_only_what_was_asked_for() {
    let mut server = Server::start(&mut fuseboard(&["--ephemeral", "--log-format", "json"]));
    let line: serde_json::Value = serde_json::from_str(&server.line_with("serving")).unwrap();
    assert_eq!(
        (&line["level"], &line["message"], &line["clock"]),
        (&"INFO".into(), &"serving".into(), &"system".into())
    );
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_port_that_is_taken_is_a_failure() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = run(&mut fuseboard(&["--ephemeral", "--http-address", "off", "--address", &address]));
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains(&format!("cannot listen on {address}")), "{}", ended.stderr);
}

#[test]
fn an_http_port_that_is_taken_is_a_failure_that_names_its_flag() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = run(&mut fuseboard(&["--ephemeral", "--address", "127.0.0.1:0", "--http-address", &address]));
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains(&format!("cannot listen on {address}")), "{}", ended.stderr);
    assert!(ended.stderr.contains("--http-address"), "{}", ended.stderr);
}

#[test]
fn where_the_default_http_port_is_taken_there_is_none_and_breakers_are_served() {
    // Where it cannot be had it is taken by somebody else, which is as good.
    let _taken = std::net::TcpListener::bind("127.0.0.1:8080");
    let mut command = fuseboard(&["--ephemeral", "--address", "127.0.0.1:0"]);
    let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
    let log = BufReader::new(process.stderr.take().unwrap()).lines();
    let mut server = Server { process, log };
    assert!(server.line_with("127.0.0.1:8080 is taken").contains("--http-address"));
    server.line_with("serving");
    assert_eq!(server.stop(), Some(0));
}

/// `failure_threshold` of the policy set for `payments/*`, as the server tells it.
fn failure_threshold(address: &str) -> Option<u32> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut client = AdminServiceClient::connect(format!("http://{address}")).await.unwrap();
        let request = GetPolicyRequest { pattern: "payments/*".to_owned() };
        let answer = client.get_policy(request).await.unwrap().into_inner();
        answer.entry.unwrap().policy.unwrap().failure_threshold
    })
}

#[cfg(unix)]
#[test]
fn policies_are_read_again_and_a_bad_file_changes_nothing() {
    let text = |threshold: &str| format!("[[policy]]\npattern = 'payments/*'\nfailure_threshold = {threshold}\n");
    let path = file("reload", &text("3"));
    let mut server = Server::start(fuseboard(&["--ephemeral", "--config"]).arg(&path));
    let line = server.line_with("serving");
    let address = field(&line, "address");
    assert_eq!(failure_threshold(address), Some(3));

    fs::write(&path, text("4")).unwrap();
    server.signal("HUP");
    server.line_with("policies reloaded");
    assert_eq!(failure_threshold(address), Some(4));

    fs::write(&path, text("5") + "[default_policy]\nprobes = 0\n").unwrap();
    server.signal("HUP");
    let line = server.line_with("ERROR");
    assert!(line.contains("nothing is changed"), "{line}");
    assert!(line.contains(":5: default_policy: probes must be 1 to 1000, not 0"), "{line}");
    assert_eq!(failure_threshold(address), Some(4));
    assert_eq!(server.stop(), Some(0));
}

// The store, while no server runs on it.

/// A data directory with some of everything.
fn filled(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{name}"));
    _ = fs::remove_dir_all(&directory);
    let store = Disk::open(&directory, &DiskOptions::default()).unwrap().store;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let full = samples::records().pop().unwrap();
    let from = Version { generation: full.snapshot.generation, number: 0 };
    let (audit, floors) = (Vec::new(), samples::floors());
    let commit = |change, events| Commit { author: 1, change, events, audit: audit.clone(), floors };
    let counted = Merge { marks: vec![samples::mark()], floors, ..Merge::default() };
    runtime.block_on(store.merge(counted)).unwrap();
    for key in ["a", "b"] {
        let to = Box::new(Record { key: key.into(), ..full.clone() });
        let change = Change::Breaker { key: key.into(), from, to: Some(to) };
        let made = commit(change, samples::events());
        runtime.block_on(store.commit(made)).unwrap();
    }
    let entry = samples::policies().pop().unwrap();
    let change = Change::Policy { pattern: "payments/*".into(), from: 0, to: Some(Box::new(entry)) };
    runtime.block_on(store.commit(commit(change, Vec::new()))).unwrap();
    let document = samples::document();
    let document = Document { version: 1, ..document };
    let change = Change::Document { key: Arc::clone(&document.key), from: 0, to: Some(Box::new(document)) };
    let made = Commit { audit: vec![samples::audit("shop")], ..commit(change, Vec::new()) };
    runtime.block_on(store.commit(made)).unwrap();
    directory
}

#[test]
fn a_store_is_checked() {
    let directory = filled("check");
    let before = fs::read(directory.join("fuseboard.redb")).unwrap();
    let ended = run(fuseboard(&["store", "check"]).arg(&directory));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
    for line in [
        "closed    yes",
        "newest    event 30",
        "records   2, ",
        "policies  1, ",
        "documents 1, ",
        "events    30, ",
        "problems  none",
    ] {
        assert!(ended.stdout.contains(line), "no {line:?} in\n{}", ended.stdout);
    }
    assert_eq!(fs::read(directory.join("fuseboard.redb")).unwrap(), before);
}

#[test]
fn a_check_of_a_damaged_store_fails_and_changes_nothing() {
    let directory = filled("damaged");
    let path = directory.join("fuseboard.redb");
    let mut bytes = fs::read(&path).unwrap();
    bytes.iter_mut().skip(4_096).step_by(97).for_each(|byte| *byte ^= 0x55);
    fs::write(&path, &bytes).unwrap();
    let ended = run(fuseboard(&["store", "check"]).arg(&directory));
    assert_eq!(ended.code, Some(1));
    assert!(ended.stdout.contains("problems  1\n  "), "{}", ended.stdout);
    let ended = run(fuseboard(&["store", "dump"]).arg(&directory));
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.contains("fuseboard.redb cannot be read: "), "{}", ended.stderr);
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert!(!directory.join("fuseboard.redb.new").exists());
}

#[test]
fn a_store_is_dumped_as_lines_that_people_can_read() {
    let ended = run(fuseboard(&["store", "dump"]).arg(filled("dump")));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let lines = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap());
    let lines: Vec<serde_json::Value> = lines.collect();
    let of =
        |kind: &str| lines.iter().filter(|line| line["kind"] == kind).map(|line| &line["value"]).collect::<Vec<_>>();
    assert_eq!(
        ["store", "record", "policy", "mark", "document", "audit", "event"].map(|kind| of(kind).len()),
        [1, 2, 1, 1, 1, 1, 30]
    );
    let record = of("record")[1];
    assert_eq!((&record["key"], &record["created"]), (&"b".into(), &"1970-01-01T00:00:01Z".into()));
    assert_eq!(record["snapshot"]["state"]["half_open"]["reserved_until"], "never");
    assert_eq!(record["snapshot"]["probes"][0]["request"], "f".repeat(32));
    assert_eq!(of("policy")[0]["spec"]["open_duration"], "8s");
    assert_eq!((&of("document")[0]["key"], &of("audit")[0]["sequence"]), (&"token/shop".into(), &1.into()));
    let event = of("event")[0];
    assert_eq!((&event["sequence"], &event["kind"]["moved"]), (&1.into(), &"opened".into()));
    assert_eq!(event["reason"]["breaker"]["trip_rule"], "failure_threshold");
}

#[test]
fn a_dump_whose_reader_has_left_is_no_failure() {
    let path = filled("unread-dump");
    let mut dump = fuseboard(&["store", "dump"]);
    let mut dump = dump.arg(&path).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Before anything is written: a pipe holds more than the whole dump.
    drop(dump.stdout.take());
    let ended = dump.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), String::from_utf8(ended.stderr).unwrap().as_str()), (Some(0), ""));
}

#[test]
fn a_store_that_a_server_uses_or_that_is_not_there_is_told() {
    let directory = filled("used");
    let server = Disk::open(&directory, &DiskOptions::default()).unwrap();
    let none = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli-none");
    for verb in ["check", "dump"] {
        let ended = run(fuseboard(&["store", verb]).arg(&directory));
        let pid = std::process::id();
        let expected = format!("error: a server runs on {} (pid {pid}): stop it first\n", directory.display());
        assert_eq!((ended.code, ended.stdout, ended.stderr), (Some(1), String::new(), expected));
        let ended = run(fuseboard(&["store", verb]).arg(&none));
        let expected = format!("error: {} has no store: there is no fuseboard.redb in it\n", none.display());
        assert_eq!((ended.code, ended.stdout, ended.stderr), (Some(1), String::new(), expected));
        assert!(refused(&mut fuseboard(&["store", verb])).contains("<DIR>"));
    }
    assert!(!none.exists());
    assert!(refused(&mut fuseboard(&["store"])).contains("check"));
    drop(server);
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_no_call() {
    let mut server = Server::start(&mut fuseboard(&["--ephemeral", "--threads", "1"]));
    let serving = server.line_with("serving");
    let address = serving.split("address=").nth(1).unwrap().split(' ').next().unwrap();
    let mut breakers = BreakerServiceClient::connect(format!("http://{address}")).await.unwrap();
    breakers.acquire(AcquireRequest { breaker: "a".to_owned(), ..Default::default() }).await.unwrap();
    // A pipe holds 64 KiB, which is some 400 lines. Nothing reads from here on.
    for _ in 0..1_500 {
        let reset = breakers.reset(ResetRequest { breaker: "a".to_owned(), ..Default::default() });
        tokio::time::timeout(Duration::from_secs(20), reset).await.expect("a log line has blocked the server").unwrap();
    }
    // The rest of the log is there for whoever reads late.
    server.signal("TERM");
    server.line_with("stopped");
    assert_eq!(server.stop(), Some(0));
}

// The machine's clock, and the place of the data directory.

/// A directory whose last server wrote so long ago, with a token that has expired since.
fn written_before(name: &str, ago: std::time::Duration) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{name}-{}", std::process::id()));
    _ = fs::remove_dir_all(&directory);
    let now = fuseboard::engine::Clock::system(Default::default()).now();
    let instant = |after| now.before(ago).after(after);
    let hour = std::time::Duration::from_secs(3_600);
    let token = fuseboard::access::Token {
        name: "shop".into(),
        roles: [fuseboard::access::Role::Read].into_iter().collect(),
        prefixes: Vec::new(),
        caller: "".into(),
        hash: fuseboard::access::SecretHash::of("nobody knows"),
        created: instant(std::time::Duration::ZERO),
        expires: instant(hour),
        actor: "ada".into(),
    };
    let body = serde_json::to_string(&token).unwrap().into();
    let document = Document { key: "token/shop".into(), version: 1, body };
    let change = Change::Document { key: "token/shop".into(), from: 0, to: Some(Box::new(document)) };
    let floors = fuseboard::store::Floors { now: instant(std::time::Duration::ZERO), ..Default::default() };
    let commit = Commit { author: 1, change, events: Vec::new(), audit: Vec::new(), floors };
    let store = Disk::open(&directory, &DiskOptions::default()).unwrap().store;
    tokio::runtime::Runtime::new().unwrap().block_on(store.commit(commit)).unwrap();
    directory
}

#[test]
fn a_clock_that_is_far_ahead_stops_the_start_until_somebody_accepts_it() {
    let two_weeks = std::time::Duration::from_secs(14 * 24 * 3_600);
    let directory = written_before("clock", two_weeks);
    let flags = ["serve", "--threads", "1", "--data-dir", directory.to_str().unwrap()];
    let stored = || Disk::open(&directory, &DiskOptions::default()).unwrap().store.now();
    let before = stored();
    let ended = run(fuseboard(&flags).args(["--address", "127.0.0.1:0", "--http-address", "off"]));
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    for part in ["14days", "would expire 1 token", "fuseboard store accept-clock", "--on-clock-jump accept"] {
        assert!(ended.stderr.contains(part), "{part:?} is not in {}", ended.stderr);
    }
    assert_eq!(stored(), before, "nothing has changed");
    // Where nobody is there to type.
    let mut server = Server::start(fuseboard(&flags).env("FUSEBOARD_ON_CLOCK_JUMP", "accept"));
    server.line_with("1 token expire");
    server.line_with("serving");
    assert_eq!(server.stop(), Some(0));

    let directory = written_before("clock-accepted", two_weeks);
    let name = directory.to_str().unwrap();
    let ended = run(&mut fuseboard(&["store", "accept-clock", name]));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let mut server = Server::start(&mut fuseboard(&["serve", "--threads", "1", "--data-dir", name]));
    server.line_with("serving");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_stored_time_that_is_ahead_is_told_and_put_back() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-ahead-{}", std::process::id()));
    _ = fs::remove_dir_all(&directory);
    let year = std::time::Duration::from_secs(365 * 24 * 3_600);
    let now = || fuseboard::engine::Clock::system(Default::default()).now();
    let floors = fuseboard::store::Floors { now: now().after(year), ..Default::default() };
    let store = Disk::open(&directory, &DiskOptions::default()).unwrap().store;
    let merge = fuseboard::store::Merge { floors, ..Default::default() };
    tokio::runtime::Runtime::new().unwrap().block_on(store.merge(merge)).unwrap();
    drop(store);
    let name = directory.to_str().unwrap();
    let serve = ["serve", "--threads", "1", "--data-dir", name];
    let mut server = Server::start(&mut fuseboard(&serve));
    server.line_with("fuseboard store repair-clock");
    server.line_with("serving");
    assert_eq!(server.stop(), Some(0));
    let ended = run(&mut fuseboard(&["store", "check", name]));
    assert!(ended.stdout.contains("ahead of this machine's"), "{}", ended.stdout);
    let ended = run(&mut fuseboard(&["store", "repair-clock", name]));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(Disk::open(&directory, &DiskOptions::default()).unwrap().store.now() <= now());
    let mut server = Server::start(&mut fuseboard(&serve));
    server.line_with("serving");
    assert_eq!(server.stop(), Some(0));
}

#[cfg(unix)]
#[test]
fn a_data_directory_that_is_removed_under_a_server_makes_it_refuse_changes_and_say_so() {
    let directory = written_before("removed", std::time::Duration::ZERO);
    let flags = ["serve", "--threads", "1", "--data-dir", directory.to_str().unwrap()];
    let mut server = Server::start(&mut fuseboard(&flags));
    let line = server.line_with("serving");
    let url = format!("http://{}", field(&line, "address"));
    fs::remove_dir_all(&directory).unwrap();
    server.line_with("was removed");
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut admin = AdminServiceClient::connect(url).await.unwrap();
        let request = fuseboard::pb::SetOverrideRequest {
            breaker: "a".to_owned(),
            mode: fuseboard::pb::OverrideMode::ForcedOpen.into(),
            actor: "ada".to_owned(),
            reason: "a test".to_owned(),
            ..Default::default()
        };
        let refused = admin.set_override(request).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused}");
        let info = admin.get_server_info(fuseboard::pb::GetServerInfoRequest {}).await.unwrap().into_inner();
        assert!(!info.store_healthy && info.store_problem.contains("was removed"), "{info:?}");
    });
}

/// Sockets that a peer holds open: more than the server may have, and fewer than the test may.
const SOCKETS_HELD: usize = 400;
/// Sockets that it opens in all.
const SOCKETS_OPENED: usize = 3_000;
/// What every HTTP/2 client says first.
const HTTP2_HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

/// The status line of an answer over a connection of its own.
fn http_status(address: &str, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .map_or_else(|error| error.to_string(), |_| answer.lines().next().unwrap().to_owned())
}

/// A server with 256 open files against a peer that holds 400 sockets and opens new ones, silent and such that have spoken HTTP/2.
#[cfg(unix)]
#[expect(clippy::disallowed_methods, reason = "connections become idle in real time")]
async fn stands_many_sockets(threads: &str) {
    use std::{collections::VecDeque, io::Write as _, net::TcpStream, time::Instant};
    let directory = directory(&format!("sockets-{threads}"));
    let serve = ["serve", "--threads", threads, "--data-dir", directory.to_str().unwrap()];
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 256; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_fuseboard")]).args(serve);
    let mut server = Server::start(&mut limited);
    let line = server.line_with("serving");
    let (address, http) = (field(&line, "address"), field(&line, "http"));
    let channel = tonic::transport::Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let (mut known, mut admin) = (BreakerServiceClient::new(channel.clone()), AdminServiceClient::new(channel.clone()));
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    // As each client of ours does. Without it, a busy machine may leave its connection idle for a second, and it could have to give way.
    let _watch = known.watch_events(fuseboard::pb::WatchEventsRequest::default()).await.unwrap();
    let mut sockets = VecDeque::new();
    let mut opened = 0;
    // One that is to give way has been silent for a look of the server's, which comes once a second.
    let until = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until || opened < SOCKETS_HELD {
        if opened < SOCKETS_OPENED {
            let mut socket = TcpStream::connect(address).unwrap();
            if opened % 2 == 0 {
                _ = socket.write_all(HTTP2_HELLO);
            }
            sockets.push_back(socket);
            opened += 1;
        }
        if sockets.len() > SOCKETS_HELD {
            sockets.pop_front();
        }
        if opened % 10 > 0 {
            continue;
        }
        known.acquire(AcquireRequest { breaker: "a".to_owned(), ..AcquireRequest::default() }).await.unwrap();
        if opened % 100 > 0 {
            continue;
        }
        health.check(tonic_health::pb::HealthCheckRequest::default()).await.unwrap();
        for path in ["/livez", "/readyz"] {
            assert_eq!(http_status(http, path), "HTTP/1.1 200 OK", "{path} after {opened} sockets");
        }
        // It is written before it is answered.
        let request = fuseboard::pb::SetOverrideRequest {
            breaker: "a".to_owned(),
            mode: fuseboard::pb::OverrideMode::Shadow.into(),
            actor: "ada".to_owned(),
            reason: format!("{opened} sockets"),
            ..Default::default()
        };
        admin.set_override(request).await.unwrap();
    }
    drop(sockets);
    assert_eq!(server.stop(), Some(0));
}

#[cfg(unix)]
#[tokio::test]
async fn many_sockets_leave_descriptors_to_health_and_the_store() {
    stands_many_sockets("2").await;
}

#[cfg(unix)]
#[tokio::test]
async fn many_sockets_leave_descriptors_to_health_and_the_store_beside_many_threads() {
    stands_many_sockets("16").await;
}
