//! A server reads its policies again on SIGHUP: what the file set changes, what the API set stays, and a bad file
//! changes nothing.

mod support {
    pub(crate) mod process;
}

use std::{fs, path::PathBuf};

use fuseboard::pb::{
    GetStateRequest, Policy, PolicyInForce, SetPolicyRequest, admin_service_client::AdminServiceClient,
    breaker_service_client::BreakerServiceClient,
};
use support::process::Server;

const FILE: &str = "[[policy]]\npattern = \"db/*\"\nfailure_threshold = 3\nprobes = 2\n";

#[tokio::test]
async fn a_reload_takes_what_the_file_says_and_leaves_what_the_api_has_set() {
    let file = File::new("reload-takes", FILE);
    let mut server = Server::start(&["--config", file.path()]);
    let mut breakers = BreakerServiceClient::connect(server.url()).await.unwrap();
    let mut admin = AdminServiceClient::connect(server.url()).await.unwrap();
    let acquire = fuseboard::pb::AcquireRequest { breaker: "db/main".to_owned(), ..Default::default() };
    breakers.acquire(acquire).await.unwrap();
    let set = SetPolicyRequest {
        pattern: "db/main".to_owned(),
        policy: Some(Policy { probes: Some(7), ..Policy::default() }),
        ..SetPolicyRequest::default()
    };
    admin.set_policy(set).await.unwrap();

    fs::write(&file.0, FILE.replace("failure_threshold = 3", "failure_threshold = 9")).unwrap();
    server.hang_up();
    server.wait_for_log("policies reloaded");
    let in_force = policy(&mut breakers).await;
    assert_eq!(in_force.sources, ["api:db/main", "file:db/*", "default"]);
    let policy_now = in_force.policy.unwrap();
    assert_eq!((policy_now.failure_threshold, policy_now.probes), (Some(9), Some(7)));

    fs::write(&file.0, "[[policy]]\npattern = \"db/*\"\nfailure_treshold = 1\n").unwrap();
    server.hang_up();
    server.wait_for_log("policies not reloaded, nothing is changed");
    assert_eq!(policy(&mut breakers).await.policy.unwrap().failure_threshold, Some(9));
}

async fn policy(breakers: &mut BreakerServiceClient<tonic::transport::Channel>) -> PolicyInForce {
    let state = breakers.get_state(GetStateRequest { breaker: "db/main".to_owned() }).await.unwrap();
    state.into_inner().policy.unwrap()
}

/// A file that goes with the test.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.toml", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
