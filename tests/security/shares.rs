//! Fair shares of what the engine bounds: one token cannot take what others need.

use fuseboard::pb::{self, AcquireRequest, CreateTokenRequest, Role};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::{
    authority::Folder,
    client::{self, ADMIN_TOKEN},
    process::Server,
};

async fn reporter(server: &Server, name: &str) -> String {
    let roles = vec![Role::Report as i32];
    let request = CreateTokenRequest { name: name.to_owned(), roles, ..CreateTokenRequest::default() };
    client::admin(server, ADMIN_TOKEN).await.create_token(request).await.unwrap().into_inner().secret
}

fn acquire(breaker: &str) -> AcquireRequest {
    AcquireRequest { breaker: breaker.to_owned(), ..AcquireRequest::default() }
}

fn batch(client_id: String) -> pb::ReportBatchRequest {
    pb::ReportBatchRequest { client_id, batch_sequence: 1, tallies: Vec::new() }
}

#[tokio::test]
async fn a_token_that_takes_all_it_gets_leaves_room_for_others_and_operators_see_who_it_is() {
    let folder = Folder::new();
    let flags = ["--max-breakers=100", "--max-batch-clients=100", "--max-handles=100"];
    let server = Server::start(&[&[client::admin_flag(&folder).as_str()], flags.as_slice()].concat());
    let mut attacker = client::breakers(&server, &reporter(&server, "attacker").await).await;
    let mut other = client::breakers(&server, &reporter(&server, "other").await).await;

    let mut refusals = Vec::new();
    for number in 0..150 {
        refusals.extend(attacker.acquire(acquire(&format!("attacker/{number}"))).await.err());
    }
    assert_eq!(refusals.len(), 75);
    let refused = refusals.pop().unwrap();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let told = refused.get_details_error_info().unwrap();
    assert_eq!(told.reason, "BREAKER_LIMIT");
    assert_eq!(told.metadata["holder"], "identity:attacker");
    assert_eq!((told.metadata["used"].as_str(), told.metadata["share"].as_str()), ("75", "75"));
    for number in 0..150 {
        let _ = attacker.report_batch(batch(format!("attacker-{number}"))).await;
    }
    for number in 0..10 {
        other.acquire(acquire(&format!("other/{number}"))).await.unwrap();
        other.report_batch(batch(format!("other-{number}"))).await.unwrap();
    }

    let mut admin = client::admin(&server, ADMIN_TOKEN).await;
    let limits = admin.get_server_info(pb::GetServerInfoRequest {}).await.unwrap().into_inner().limits;
    for name in ["max_breakers", "max_batch_clients"] {
        let limit = limits.iter().find(|limit| limit.name == name).unwrap();
        let biggest: Vec<_> = limit.biggest.iter().map(|share| (share.holder.as_str(), share.used)).collect();
        assert_eq!(biggest, [("identity:attacker", 75), ("identity:other", 10)], "{name}");
    }
}

#[tokio::test]
async fn the_handles_of_a_token_are_bounded_over_all_its_sessions() {
    let folder = Folder::new();
    let server = Server::start(&[&client::admin_flag(&folder), "--max-handles=100"]);
    let (attacker, other) = (reporter(&server, "attacker").await, reporter(&server, "other").await);
    let introduced = async |token: &str, count: u32| {
        let introduction = |handle| pb::Introduction { handle, breaker: format!("b/{handle}") };
        let introductions = (1..=count).map(introduction).collect();
        let frame = pb::SessionRequest { introductions, ..Default::default() };
        let mut client = client::breakers(&server, token).await;
        let frames = tokio_stream::StreamExt::chain(tokio_stream::once(frame), tokio_stream::pending());
        let mut answers = client.session(frames).await.unwrap().into_inner();
        let answer = answers.message().await.unwrap().unwrap();
        (answers, answer.errors)
    };
    let (_first, errors) = introduced(&attacker, 60).await;
    assert_eq!(errors, []);
    let (_second, errors) = introduced(&attacker, 60).await;
    assert_eq!(errors.len(), 45, "75 of its handles are the share of one token");
    let (_others, errors) = introduced(&other, 10).await;
    assert_eq!(errors, []);
}
