//! Everything that clients can make grow has a bound: the built server, and what its memory and its answers come to.

#[path = "../support/process.rs"]
mod process;

use fuseboard::pb::{
    self, admin_service_client::AdminServiceClient, breaker_service_client::BreakerServiceClient,
    watch_events_response::Message,
};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

use self::process::Server;

const MIB: u64 = 1 << 20;
/// Most bytes of a page, with its token.
const PAGE_BYTES_MAX: usize = (1 << 20) + 1_024;

async fn channel(server: &Server) -> Channel {
    Endpoint::from_shared(server.url()).unwrap().connect().await.unwrap()
}

/// A session that has introduced breakers: its sender and its answers.
async fn session(
    client: &mut BreakerServiceClient<Channel>,
    introductions: Vec<pb::Introduction>,
) -> (mpsc::Sender<pb::SessionRequest>, Streaming<pb::SessionResponse>) {
    let (sender, requests) = mpsc::channel(1);
    sender.send(pb::SessionRequest { introductions, ..Default::default() }).await.unwrap();
    let mut answers = client.session(ReceiverStream::new(requests)).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap();
    (sender, answers)
}

#[tokio::test]
async fn a_session_that_names_a_high_handle_takes_no_more_memory_than_one_that_names_a_low_one() {
    let server = Server::start(&[]);
    let mut client = BreakerServiceClient::new(channel(&server).await);
    let before = server.resident_bytes();
    let mut held = Vec::new();
    for _ in 0..400 {
        let introduction = pb::Introduction { handle: 10_000, breaker: "a".to_owned() };
        held.push(session(&mut client, vec![introduction]).await);
    }
    let grown = server.resident_bytes() - before;
    // A table of 10,000 places takes 480 KB a session: 190 MB.
    assert!(grown < 24 * MIB, "{grown} bytes");
}

#[tokio::test]
async fn a_watcher_that_has_read_a_large_snapshot_sleeps_in_less_than_128_kib() {
    const WATCHERS: u64 = 60;
    let server = Server::start(&[]);
    let mut client = BreakerServiceClient::new(channel(&server).await);
    for first in [0, 1_000] {
        let declare = |number: i32| pb::Declaration {
            breaker: format!("{number:0150}"),
            policy: Some(pb::Policy::default()),
            ..Default::default()
        };
        let declarations = (first..first + 1_000).map(declare).collect();
        client.declare(pb::DeclareRequest { declarations, ..Default::default() }).await.unwrap();
    }
    let mut held = Vec::new();
    let mut before = 0;
    for number in 0..=WATCHERS {
        let mut client = BreakerServiceClient::new(channel(&server).await);
        let mut stream = client.watch_events(pb::WatchEventsRequest::default()).await.unwrap().into_inner();
        loop {
            let Some(Message::Snapshot(part)) = stream.message().await.unwrap().unwrap().message else { panic!() };
            assert!(part.encoded_len() <= 64 << 10);
            if part.complete {
                break;
            }
        }
        held.push(stream);
        if number == 0 {
            before = server.resident_bytes();
        }
    }
    let each = server.resident_bytes().saturating_sub(before) / WATCHERS;
    assert!(each < 128 << 10, "{each} bytes");
}

#[tokio::test]
async fn every_page_of_a_list_ends_before_a_mebibyte_and_the_pages_have_everything_once() {
    const POLICIES: usize = 1_500;
    let server = Server::start(&[]);
    let mut admin = AdminServiceClient::new(channel(&server).await);
    // The longest pattern, actor and reason there are, so that each of 1,000 entries takes more than a KiB.
    for number in 0..POLICIES {
        let policy = Some(pb::Policy { failure_threshold: Some(3), ..Default::default() });
        let (pattern, actor, reason) = (format!("{number:0>200}"), "a".repeat(200), "r".repeat(1_000));
        let request = pb::SetPolicyRequest { pattern, policy, actor, reason, ..Default::default() };
        admin.set_policy(request).await.unwrap();
    }
    for number in 0..1_500 {
        let (breaker, actor, reason) = (format!("{number:0>200}"), "a".repeat(200), "r".repeat(1_000));
        let mode = pb::OverrideMode::ForcedOpen.into();
        admin
            .set_override(pb::SetOverrideRequest { breaker, mode, actor, reason, ..Default::default() })
            .await
            .unwrap();
    }

    let mut request = pb::ListPoliciesRequest { page_size: 1_000, ..Default::default() };
    let mut patterns = std::collections::HashSet::new();
    loop {
        let page = admin.list_policies(request.clone()).await.unwrap().into_inner();
        assert!(page.encoded_len() <= PAGE_BYTES_MAX, "{} bytes", page.encoded_len());
        assert!(page.policies.into_iter().all(|entry| patterns.insert(entry.pattern)));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(patterns.len(), POLICIES);

    for newest_first in [false, true] {
        let mut request = pb::ListEventsRequest { page_size: 1_000, newest_first, ..Default::default() };
        let (mut sequences, mut pages) = (Vec::new(), 0);
        loop {
            let page = admin.list_events(request.clone()).await.unwrap().into_inner();
            assert!(page.encoded_len() <= PAGE_BYTES_MAX, "{} bytes", page.encoded_len());
            sequences.extend(page.events.iter().map(|event| event.sequence));
            pages += 1;
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        assert!(pages > 2, "pages of 1,000 events would be larger");
        sequences.sort_unstable();
        assert!(sequences.iter().copied().eq(1..=1_500));
    }

    let mut request = pb::ListAuditRequest { page_size: 1_000, ..Default::default() };
    let mut sequences = Vec::new();
    loop {
        let page = admin.list_audit(request.clone()).await.unwrap().into_inner();
        assert!(page.encoded_len() <= PAGE_BYTES_MAX, "{} bytes", page.encoded_len());
        sequences.extend(page.entries.iter().map(|entry| entry.sequence));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert!(sequences.is_sorted_by(|later, earlier| later > earlier));
    assert!(sequences.len() >= 1_500);
}

#[tokio::test]
async fn a_policy_lists_the_sources_that_fit() {
    let server = Server::start(&[]);
    let channel = channel(&server).await;
    let mut admin = AdminServiceClient::new(channel.clone());
    for stars in 1..=100 {
        let policy = Some(pb::Policy { failure_threshold: Some(3), ..Default::default() });
        let pattern = format!("a{}", "*".repeat(stars));
        admin.set_policy(pb::SetPolicyRequest { pattern, policy, ..Default::default() }).await.unwrap();
    }
    let mut breakers = BreakerServiceClient::new(channel);
    breakers.acquire(pb::AcquireRequest { breaker: "a".to_owned(), ..Default::default() }).await.unwrap();
    let state = breakers.get_state(pb::GetStateRequest { breaker: "a".to_owned() }).await.unwrap().into_inner();
    let sources = state.policy.unwrap().sources;
    assert!(sources.iter().map(String::len).sum::<usize>() <= 1_024 + 32, "{sources:?}");
    assert!(sources.last().is_some_and(|last| last.starts_with("and ") && last.ends_with(" more")), "{sources:?}");
}

#[tokio::test]
async fn answers_that_their_client_does_not_take_have_a_bound_in_bytes() {
    let server = Server::start(&[]);
    let mut admin = AdminServiceClient::new(channel(&server).await);
    for number in 0..900 {
        let (breaker, actor, reason) = (format!("{number:0>200}"), "a".repeat(200), "r".repeat(1_000));
        let mode = pb::OverrideMode::ForcedOpen.into();
        let request = pb::SetOverrideRequest { breaker, mode, actor, reason, ..Default::default() };
        admin.set_override(request).await.unwrap();
    }
    let socket = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    let mut http = h2::client::Builder::new();
    // It takes no byte of any answer.
    http.initial_window_size(0);
    let (mut requests, connection) = http.handshake::<_, bytes::Bytes>(socket).await.unwrap();
    let connection = tokio::spawn(connection);
    let message = pb::ListEventsRequest { page_size: 1_000, ..Default::default() }.encode_to_vec();
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend(message);
    let framed = bytes::Bytes::from(framed);
    let before = server.resident_bytes();
    let mut answers = Vec::new();
    for _ in 0..260 {
        requests = requests.ready().await.unwrap();
        let request = http::Request::post(format!("{}/fuseboard.v1.AdminService/ListEvents", server.url()))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        let (answer, mut body) = requests.send_request(request, false).unwrap();
        body.send_data(framed.clone(), true).unwrap();
        answers.push(answer.await.unwrap().into_body());
    }
    let mut last = answers.pop().unwrap();
    assert!(last.data().await.is_none());
    let refused = tonic::Status::from_header_map(&last.trailers().await.unwrap().unwrap()).unwrap();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{refused:?}");
    assert_eq!(refused.get_error_details().error_info().unwrap().reason, "UNSENT_LIMIT");
    let unsent = async |admin: &mut AdminServiceClient<Channel>| {
        let info = admin.get_server_info(pb::GetServerInfoRequest {}).await.unwrap().into_inner();
        info.limits.into_iter().find(|limit| limit.name == "unsent_bytes").unwrap().used.unwrap()
    };
    let used = unsent(&mut admin).await;
    assert!((180 * MIB..=192 * MIB).contains(&used), "{used} bytes");
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 256 * MIB, "{grown} bytes");
    connection.abort();
    drop(answers);
    while unsent(&mut admin).await > 0 {
        tokio::task::yield_now().await;
    }
}
