//! No input is too bad for an answer: every field of every RPC with values it does not take, and requests that are none.
//!
//! [`fields`] says what each field takes. The protocol's own descriptors say which fields there are, so that a field
//! nobody wrote a line for fails the test. The server is the built one; none of this may make it panic.

#![allow(unreachable_pub, reason = "a test has no outside")]

mod fields;
mod server;
mod wire;

use std::collections::HashSet;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use fuseboard::grpc::pb;
use prost::Message as _;
use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};
use tonic::Code;

use self::{
    fields::{Case, FIELDS, Wants},
    server::{Answer, Connection, Refusal, Server, framed, framed_as, request},
    wire::{Tree, Wire, encode, is_ours},
};

const ACQUIRE: &str = "/fuseboard.v1.BreakerService/Acquire";
const REPORT: &str = "/fuseboard.v1.BreakerService/Report";
const SESSION: &str = "/fuseboard.v1.BreakerService/Session";
/// The number of a field that no message of ours has.
const UNKNOWN_FIELD: u32 = 19_000;
const LIST_BREAKERS: &str = "/fuseboard.v1.AdminService/ListBreakers";

// ---- Every field ---------------------------------------------------------------------------------------------------

#[tokio::test]
async fn every_field_says_what_it_takes() {
    let mut untested: HashSet<&str> = FIELDS.iter().map(|(field, _)| *field).collect();
    let server = Server::start();
    let caller = Caller::new(server.connect().await);
    for place in places() {
        let field = place.field();
        let Some((name, rule)) = FIELDS.iter().find(|(name, _)| *name == field) else {
            panic!("{field} of {} has no line in tests/bad_input/fields.rs", place.method);
        };
        untested.remove(name);
        for case in rule() {
            let message = caller.request(&place, &case.values).await;
            let answer = answer_of(&place.method, caller.connection.call(&place.method, &message).await);
            place.check(&case, &answer);
        }
    }
    assert_eq!(untested, HashSet::new(), "lines for fields that are not there");
}

#[tokio::test]
async fn a_field_that_cannot_be_read_is_named() {
    let server = Server::start();
    let caller = Caller::new(server.connect().await);
    for place in places() {
        for (what, value) in place.unreadable() {
            let message = caller.request(&place, &[value]).await;
            let answer = caller.connection.call(&place.method, &message).await;
            let context = format!("{} {}: {what}", place.method, place.field());
            let refusal = answer.refusal();
            assert_eq!(
                (refusal.code, refusal.reason.as_str()),
                (Code::InvalidArgument, "MALFORMED_MESSAGE"),
                "{context}"
            );
            // Of a message that is cut off it may be the field inside.
            let path = place.unread_path();
            assert!(refusal.field == path || refusal.field.starts_with(&format!("{path}.")), "{context}: {refusal:?}");
            assert!(refusal.message.contains(&format!("{} cannot be read: ", refusal.field)), "{refusal:?}");
        }
    }
}

#[tokio::test]
async fn the_last_of_several_values_holds() {
    let server = Server::start();
    let caller = Caller::new(server.connect().await);
    for place in places().iter().filter(|place| place.leaf().kind() == Kind::String && !place.leaf().is_list()) {
        let message = caller.request_with(place, |good| vec![Wire::Bytes(b"?".to_vec()), good]).await;
        let answer = answer_of(&place.method, caller.connection.call(&place.method, &message).await);
        assert!(is_taken(&answer) || answer.refusal().field == "permit", "{}: {answer:?}", place.field());
    }
}

#[tokio::test]
async fn fields_nobody_knows_are_passed_over() {
    let server = Server::start();
    let caller = Caller::new(server.connect().await);
    let values = [Wire::Varint(u64::MAX), Wire::Fixed64(7), Wire::Bytes(vec![0xff; 300]), Wire::Fixed32(7)];
    let unknown: Vec<u8> = values.iter().flat_map(|value| encode(UNKNOWN_FIELD, value)).collect();
    for method in methods() {
        let message = [caller.base(&method).await, unknown.clone()].concat();
        let answer = answer_of(&method, caller.connection.call(&method, &message).await);
        assert!(is_taken(&answer), "{method}: {answer:?}");
    }
}

#[tokio::test]
async fn a_message_cut_off_anywhere_is_answered() {
    let server = Server::start();
    let caller = Caller::new(server.connect().await);
    for method in methods() {
        let message = caller.base(&method).await;
        for length in 0..message.len() {
            let answer = answer_of(&method, caller.connection.call(&method, &message[..length]).await);
            let known = match &answer {
                Answer::Error(refusal) => {
                    let reason = refusal.reason.as_str();
                    is_taken(&answer) || matches!(reason, "INVALID_FIELD" | "MALFORMED_MESSAGE" | "VERSION_MOVED")
                }
                other => is_taken(other),
            };
            assert!(known, "{method} cut at {length}: {answer:?}");
        }
    }
}

// ---- Requests that are none ----------------------------------------------------------------------------------------

#[tokio::test]
async fn bytes_that_are_no_message_are_refused() {
    let server = Server::start();
    let connection = server.connect().await;
    // The start of a group with number 15, which none of our fields has.
    let groups = vec![(15 << 3) | 3; 10_000];
    let bad: [(&str, Vec<u8>); 9] = [
        ("noise", vec![0xff; 64]),
        ("text", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("JSON", br#"{"breaker": "payments"}"#.to_vec()),
        ("a number without an end", vec![0x80; 20]),
        ("field 0", vec![0x00, 0x01]),
        ("wire type 6", vec![0x0e]),
        ("wire type 7", vec![0x0f]),
        ("a length beyond all memory", vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
        ("groups in groups", groups),
    ];
    for method in methods() {
        for (what, bytes) in &bad {
            let answer = connection.call(&method, bytes).await;
            let refusal = answer.refusal();
            let told = (refusal.code, refusal.reason.as_str());
            assert_eq!(told, (Code::InvalidArgument, "MALFORMED_MESSAGE"), "{method} {what}: {refusal:?}");
        }
    }
    alive(&connection).await;
}

#[tokio::test]
async fn a_call_without_its_one_message_is_refused() {
    let server = Server::start();
    let connection = server.connect().await;
    let message = pb::AcquireRequest { breaker: "a".into(), ..Default::default() }.encode_to_vec();
    let bad = [
        ("nothing", Bytes::new()),
        ("half a length", Bytes::from_static(&[0, 0, 0])),
        ("less than its length", framed_as(0, 100, &message)),
        ("a flag of 2", framed_as(2, u32::try_from(message.len()).unwrap(), &message)),
        ("compressed, nobody says how", framed_as(1, u32::try_from(message.len()).unwrap(), &message)),
    ];
    for (what, body) in bad {
        let answer = connection.send(request(ACQUIRE), body).await;
        let refusal = answer.refusal();
        let told = (refusal.code, refusal.reason.as_str());
        assert_eq!(told, (Code::InvalidArgument, "MALFORMED_MESSAGE"), "{what}: {refusal:?}");
        alive(&connection).await;
    }
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused_unread() {
    let server = Server::start();
    let caller = Caller::new(server.connect().await);
    for method in methods() {
        let largest: usize = match method.rsplit('/').next() {
            Some("ReportBatch" | "Declare" | "Session" | "WatchEvents") => 1 << 20,
            _ => 64 << 10,
        };
        let message = caller.base(&method).await;
        let refused = |answer: &Answer| {
            let refusal = answer.refusal();
            let told = (refusal.code, refusal.reason.as_str());
            assert_eq!(told, (Code::ResourceExhausted, "MESSAGE_LIMIT"), "{method}");
            assert!(refusal.message.contains(&format!("the limit is: {largest} bytes")), "{refusal:?}");
        };
        refused(&caller.connection.call(&method, &vec![0; largest + 1]).await);
        refused(&caller.connection.send(request(&method), framed_as(0, u32::MAX, b"")).await);
        let exact = padded(&message, largest);
        let answer = answer_of(&method, caller.connection.call(&method, &exact).await);
        assert!(is_taken(&answer), "{method}: {answer:?}");
    }
}

#[tokio::test]
async fn headers_above_the_limit_are_refused() {
    let server = Server::start();
    let connection = server.connect().await;
    let mut request = request(ACQUIRE);
    request.headers_mut().insert("caller-s-notes", "n".repeat(17 << 10).parse().unwrap());
    let answer = connection.send(request, framed(b"")).await;
    assert!(matches!(answer, Answer::Broken(_)), "{answer:?}");
    alive(&server.connect().await).await;
}

#[tokio::test]
async fn a_frame_of_many_items_is_answered_and_one_of_too_many_refused() {
    let server = Server::start();
    let connection = server.connect().await;
    let frame =
        |items| pb::SessionRequest { acquires: vec![pb::SessionAcquire::default(); items], ..Default::default() };
    let answer = connection.call(SESSION, &frame(10_000).encode_to_vec()).await;
    assert_eq!(answer.message::<pb::SessionResponse>().errors.len(), 10_000, "one for each item without a breaker");
    let refused = connection.call(SESSION, &frame(10_001).encode_to_vec()).await;
    assert_eq!(
        refused.refusal().message,
        "the limit of 10000 items in a frame is reached: send them in several frames"
    );
    assert_eq!(refused.refusal().reason, "FRAME_LIMIT");

    // Tallies count apart from items, over all batches.
    let batch = |number, tallies| pb::SessionBatch {
        number,
        batch: Some(pb::ReportBatchRequest { tallies: vec![pb::Tally::default(); tallies], ..Default::default() }),
    };
    let frame = |rest| pb::SessionRequest { batches: vec![batch(1, 9_999), batch(2, rest)], ..Default::default() };
    let answer = connection.call(SESSION, &frame(1).encode_to_vec()).await;
    assert_eq!(answer.message::<pb::SessionResponse>().errors.len(), 2, "one for each batch without a client");
    let refused = connection.call(SESSION, &frame(2).encode_to_vec()).await;
    assert_eq!(
        refused.refusal().message,
        "the limit of 10000 tallies in a frame is reached: send them in several frames"
    );
    alive(&connection).await;
}

#[tokio::test]
async fn compressed_messages_are_not_taken() {
    let server = Server::start();
    let connection = server.connect().await;
    let message = pb::AcquireRequest { breaker: "a".into(), ..Default::default() }.encode_to_vec();
    for encoding in ["gzip", "deflate", "zstd", "snappy", "", "identity, gzip"] {
        let mut request = request(ACQUIRE);
        request.headers_mut().insert("grpc-encoding", encoding.parse().unwrap());
        let answer = connection.send(request, framed_as(1, u32::try_from(message.len()).unwrap(), &message)).await;
        let refusal = answer.refusal();
        assert_eq!(
            (refusal.code, refusal.reason.as_str()),
            (Code::Unimplemented, "UNSUPPORTED_ENCODING"),
            "{encoding}"
        );
        assert!(refusal.message.ends_with("send it uncompressed"), "{refusal:?}");
    }
    let mut plain = request(ACQUIRE);
    plain.headers_mut().insert("grpc-encoding", "identity".parse().unwrap());
    connection.send(plain, framed(&message)).await.message::<pb::AcquireResponse>();
}

#[tokio::test]
async fn a_method_that_is_not_there_is_unimplemented() {
    let server = Server::start();
    let connection = server.connect().await;
    let methods = [
        "/fuseboard.v1.BreakerService/acquire",
        "/fuseboard.v1.BreakerService/Acquire/",
        "/fuseboard.v1.BreakerService/",
        "/fuseboard.v1.BreakerService",
        "/fuseboard.v1.Breakers/Acquire",
        "/fuseboard.v2.BreakerService/Acquire",
        "/",
        "/%ff%00",
    ];
    for method in methods {
        let answer = connection.call(method, b"").await;
        let refusal = answer.refusal();
        assert_eq!((refusal.code, refusal.reason.as_str()), (Code::Unimplemented, "METHOD_NOT_FOUND"), "{method}");
        assert!(refusal.message.contains("reflection"), "{refusal:?}");
    }
    alive(&connection).await;
}

// ---- Values that only another call can make ------------------------------------------------------------------------

#[tokio::test]
async fn a_page_token_of_another_list_is_refused() {
    let server = Server::start();
    let caller = Caller::new(server.connect().await);
    for _ in 0..2 {
        caller.permit("one").await;
        caller.permit("two").await;
    }
    let list = pb::ListBreakersRequest { page_size: 1, ..Default::default() };
    let page: pb::ListBreakersResponse = caller.connection.call(LIST_BREAKERS, &list.encode_to_vec()).await.message();
    let next = pb::ListBreakersRequest { page_token: page.next_page_token.clone(), page_size: 7, ..list.clone() };
    let page: pb::ListBreakersResponse = caller.connection.call(LIST_BREAKERS, &next.encode_to_vec()).await.message();
    assert_eq!(page.breakers.len(), 1);
    let other = pb::ListBreakersRequest { prefix: "t".into(), ..next.clone() };
    let answer = caller.connection.call(LIST_BREAKERS, &other.encode_to_vec()).await;
    assert_eq!(answer.refusal().field, "page_token");
    assert!(answer.refusal().message.contains("begin again without a page token"), "{answer:?}");
    let events = pb::ListEventsRequest { page_token: next.page_token, ..Default::default() };
    let answer = caller.connection.call("/fuseboard.v1.AdminService/ListEvents", &events.encode_to_vec()).await;
    assert_eq!(answer.refusal().field, "page_token");
}

#[tokio::test]
async fn a_permit_changed_anywhere_is_refused() {
    let server = Server::start();
    let caller = Caller::new(server.connect().await);
    let permit = caller.permit("a").await;
    for index in 0..permit.len() {
        let mut changed = permit.clone().into_bytes();
        changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
        let permit = String::from_utf8(changed).unwrap();
        let outcome = pb::Outcome::Success as i32;
        let report = pb::ReportRequest { breaker: "a".into(), permit, outcome, ..Default::default() };
        let answer = caller.connection.call(REPORT, &report.encode_to_vec()).await;
        assert_eq!(answer.refusal().field, "permit", "changed at {index}");
    }
}

#[tokio::test]
async fn a_handle_whose_new_key_is_refused_no_longer_means_the_old_one() {
    let server = Server::start();
    let connection = server.connect().await;
    let introduce = |breaker: &str| pb::Introduction { handle: 1, breaker: breaker.into() };
    let acquires = vec![pb::SessionAcquire { number: 7, handle: 1, ..Default::default() }];
    let introductions = vec![introduce("a"), introduce("not a key")];
    let frame = pb::SessionRequest { introductions, acquires, ..Default::default() };
    let answer: pb::SessionResponse = connection.call(SESSION, &frame.encode_to_vec()).await.message();
    let errors: Vec<_> = answer.errors.iter().map(|error| (error.number, error.field.as_str())).collect();
    assert_eq!(errors, [(0, "introductions[1].breaker"), (7, "handle")]);
}

// ---- Where fields are ----------------------------------------------------------------------------------------------

/// A field on its way from a method's request.
struct Place {
    method: String,
    fields: Vec<FieldDescriptor>,
}

impl Place {
    fn leaf(&self) -> &FieldDescriptor {
        self.fields.last().expect("a place has a field")
    }

    /// `Message.field`.
    fn field(&self) -> String {
        format!("{}.{}", self.leaf().parent_message().name(), self.leaf().name())
    }

    /// The path that an error names, to the field or the message around it. Items of a session have paths of their own.
    fn path(&self, fields: usize) -> String {
        let is_item = self.method == SESSION && self.fields.len() > 1 && self.fields[0].name() != "introductions";
        let names = self.fields[..fields].iter().enumerate().skip(usize::from(is_item)).map(|(index, field)| {
            let entry = field.is_list() && index + 1 < self.fields.len();
            format!("{}{}", field.name(), if entry { "[0]" } else { "" })
        });
        names.collect::<Vec<_>>().join(".")
    }

    /// The path that prost names: without entries, and of a choice the choice itself.
    fn unread_path(&self) -> String {
        let names = self.fields.iter().map(|field| match field.containing_oneof() {
            Some(choice) if !choice.is_synthetic() => choice.name().to_owned(),
            _ => field.name().to_owned(),
        });
        names.collect::<Vec<_>>().join(".")
    }

    /// What nothing can be read from, whatever the field means.
    fn unreadable(&self) -> Vec<(&'static str, Wire)> {
        // A field number and no value.
        let cut = Wire::Bytes(vec![0x08]);
        let mut values = vec![("another wire type", Wire::Fixed32(7))];
        match self.leaf().kind() {
            Kind::String => values.extend([
                ("no UTF-8", Wire::Bytes(vec![b'a', 0xff, 0xfe])),
                ("half a character", Wire::Bytes("é".as_bytes()[..1].to_vec())),
                ("a surrogate", Wire::Bytes(vec![0xed, 0xa0, 0x80])),
                ("a number", Wire::Varint(1)),
            ]),
            Kind::Bytes => values.push(("a number", Wire::Varint(1))),
            Kind::Message(_) => values.extend([("cut off", cut), ("a number", Wire::Varint(1))]),
            Kind::Double => values.push(("a number", Wire::Varint(1))),
            _ if self.leaf().is_list() => values.push(("half a number, packed", Wire::Bytes(vec![0x80]))),
            _ => values.push(("bytes", Wire::Bytes(vec![1]))),
        }
        values
    }

    fn check(&self, case: &Case, answer: &Answer) {
        let own = self.fields.len();
        let parent = self.path(own - 1);
        let beside = |field: &str| {
            [parent.as_str(), field].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(".")
        };
        let (path, text) = match &case.wants {
            Wants::Fine => {
                assert!(is_taken(answer), "{} {}, {case:?}: {answer:?}", self.method, self.field());
                return;
            }
            Wants::Error(code, reason) => {
                let refusal = answer.refusal();
                assert_eq!(
                    (refusal.code, refusal.reason.as_str()),
                    (*code, *reason),
                    "{}, {}",
                    self.field(),
                    case.name
                );
                return;
            }
            Wants::Fault(text) => (self.path(own), text),
            Wants::FaultOfEntry(text) => (format!("{}[0]", self.path(own)), text),
            Wants::FaultBeside(field, text) => (beside(field), text),
            Wants::FaultInside(field, text) => (format!("{}.{field}", self.path(own)), text),
        };
        let context = format!("{} {}, {}", self.method, self.field(), case.name);
        let Answer::Error(refusal) = answer else { panic!("{context} is taken: {answer:?}") };
        // A permit carries eight bits of its breaker's keyed hash. Where those of both breakers are alike, one of the other is forged.
        if refusal.reason == "PERMIT_FORGED" && text.starts_with("must be of the breaker that is named") {
            return;
        }
        assert_eq!((refusal.code, refusal.reason.as_str()), (Code::InvalidArgument, "INVALID_FIELD"), "{context}");
        assert_eq!(refusal.field, path, "{context}");
        assert!(refusal.message.contains(text), "{context}: {:?} does not say {text:?}", refusal.message);
    }
}

fn pool() -> DescriptorPool {
    DescriptorPool::decode(pb::FILE_DESCRIPTOR_SET).expect("the protocol describes itself")
}

/// The methods of our services.
fn methods() -> Vec<String> {
    let pool = pool();
    let methods = pool.services().filter(|service| service.package_name().starts_with("fuseboard."));
    let methods = methods.flat_map(|service| service.methods().collect::<Vec<_>>());
    methods.map(|method| format!("/{}/{}", method.parent_service().full_name(), method.name())).collect()
}

fn input(method: &str) -> MessageDescriptor {
    let (service, name) = method[1..].split_once('/').expect("a method is of a service");
    let service = pool().get_service_by_name(service).expect("the service is there");
    let method = service.methods().find(|method| method.name() == name).expect("the method is there");
    method.input()
}

/// Every field of every request, those of messages in it included.
fn places() -> Vec<Place> {
    fn walk(method: &str, above: &[FieldDescriptor], message: &MessageDescriptor, places: &mut Vec<Place>) {
        for field in message.fields() {
            let fields = [above, std::slice::from_ref(&field)].concat();
            if let Kind::Message(inner) = field.kind()
                && is_ours(&inner)
            {
                walk(method, &fields, &inner, places);
            }
            places.push(Place { method: method.to_owned(), fields });
        }
    }
    let mut places = Vec::new();
    for method in methods() {
        walk(&method, &[], &input(&method), &mut places);
    }
    places
}

// ---- Calls ---------------------------------------------------------------------------------------------------------

/// Makes requests of which one field may be bad and everything else is good.
struct Caller {
    connection: Connection,
    calls: std::cell::Cell<u64>,
}

impl Caller {
    fn new(connection: Connection) -> Self {
        Self { connection, calls: std::cell::Cell::new(0) }
    }

    /// A permit of a breaker. As it needs an answer, it shows that the server is still there.
    async fn permit(&self, breaker: &str) -> String {
        let acquire = pb::AcquireRequest { breaker: breaker.into(), ..Default::default() };
        let acquired: pb::AcquireResponse = self.connection.call(ACQUIRE, &acquire.encode_to_vec()).await.message();
        acquired.permit
    }

    /// A good request.
    async fn base(&self, method: &str) -> Vec<u8> {
        self.calls.set(self.calls.get() + 1);
        let key = format!("case/{}", self.calls.get());
        let permit = self.permit(&key).await;
        good_request(method, &key, &permit, self.calls.get())
    }

    /// A request that has these values in the place and is good otherwise.
    async fn request(&self, place: &Place, values: &[Wire]) -> Vec<u8> {
        self.request_with(place, |_| values.to_vec()).await
    }

    /// The same with values made of the good one, which is no bytes where there is none.
    async fn request_with(&self, place: &Place, values: impl FnOnce(Wire) -> Vec<Wire>) -> Vec<u8> {
        let mut tree = Tree::parse(&input(&place.method), &self.base(&place.method).await);
        let path: Vec<u32> = place.fields.iter().map(FieldDescriptor::number).collect();
        let good = tree.value(&path).cloned().unwrap_or(Wire::Bytes(Vec::new()));
        tree.set(&path, values(good));
        tree.encode()
    }
}

fn good_request(method: &str, key: &str, permit: &str, call: u64) -> Vec<u8> {
    let (breaker, pattern, permit) = (key.to_owned(), key.to_owned(), permit.to_owned());
    let (actor, reason, caller) = ("ops".to_owned(), "a test".to_owned(), "test/1".to_owned());
    let second = || Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let outcome = pb::Outcome::Success as i32;
    let request_id = format!("request {call}");
    let policy = || {
        let time = pb::TimeWindow { duration: second(), slices: 10 };
        pb::Policy {
            failure_threshold: Some(3),
            window: Some(pb::Window { kind: Some(pb::window::Kind::Time(time)) }),
            open_backoff: Some(pb::OpenBackoff { multiplier: 2.0, ..Default::default() }),
            ..Default::default()
        }
    };
    let tally = pb::Tally { successes: 5, failures: 2, timeouts: 1, ..Default::default() };
    let tallies = vec![pb::Tally { breaker: breaker.clone(), caller: caller.clone(), ..tally }];
    let batch = pb::ReportBatchRequest { client_id: "client".into(), batch_sequence: call, tallies };
    let states = vec![pb::State::Open as i32];
    let kinds = vec![pb::EventKind::Opened as i32];
    match method.rsplit('/').next().unwrap_or_default() {
        "Acquire" => pb::AcquireRequest { breaker, caller, request_id, lease: second() }.encode_to_vec(),
        "Report" => pb::ReportRequest { breaker, permit, outcome, ..Default::default() }.encode_to_vec(),
        "ReportBatch" => batch.encode_to_vec(),
        "Session" => {
            let permit = URL_SAFE_NO_PAD.decode(permit).expect("a permit is text of bytes").into();
            let introductions = vec![pb::Introduction { handle: 1, breaker: breaker.clone() }];
            let acquire = pb::SessionAcquire { number: 1, breaker: breaker.clone(), request_id, ..Default::default() };
            let report = pb::SessionReport { number: 2, breaker, permit, outcome, ..Default::default() };
            let batches = vec![pb::SessionBatch { number: 3, batch: Some(batch) }];
            pb::SessionRequest { caller, introductions, acquires: vec![acquire], reports: vec![report], batches }
                .encode_to_vec()
        }
        "Declare" => {
            let declarations = vec![pb::Declaration { breaker, policy: Some(policy()), revision: 1 }];
            pb::DeclareRequest { declarations, caller }.encode_to_vec()
        }
        "Reset" => pb::ResetRequest { breaker, reason, actor }.encode_to_vec(),
        "GetState" => pb::GetStateRequest { breaker }.encode_to_vec(),
        "WatchEvents" => {
            let filter =
                pb::WatchFilter { breakers: vec![breaker], prefixes: vec!["case/".into()], ..Default::default() };
            pb::WatchEventsRequest { filter: Some(filter), caller, ..Default::default() }.encode_to_vec()
        }
        "ListBreakers" => {
            pb::ListBreakersRequest { prefix: "case/".into(), states, ..Default::default() }.encode_to_vec()
        }
        "ListPolicies" => pb::ListPoliciesRequest { breaker, ..Default::default() }.encode_to_vec(),
        "GetPolicy" => pb::GetPolicyRequest { pattern }.encode_to_vec(),
        "SetPolicy" => pb::SetPolicyRequest { pattern, policy: Some(policy()), expected_version: None, actor, reason }
            .encode_to_vec(),
        "DeletePolicy" => pb::DeletePolicyRequest { pattern, expected_version: None, actor, reason }.encode_to_vec(),
        "SetOverride" => {
            let mode = pb::OverrideMode::Shadow as i32;
            pb::SetOverrideRequest { breaker, mode, actor, reason, expire_after: second(), id: String::new() }
                .encode_to_vec()
        }
        "ClearOverride" => pb::ClearOverrideRequest { breaker, actor, reason, id: String::new() }.encode_to_vec(),
        "ProbeNow" => pb::ProbeNowRequest { breaker, caller, actor, reason }.encode_to_vec(),
        "DeleteDeclaration" => pb::DeleteDeclarationRequest { breaker, actor, reason }.encode_to_vec(),
        "DeleteBreaker" => pb::DeleteBreakerRequest { breaker, actor, reason }.encode_to_vec(),
        "ListEvents" => pb::ListEventsRequest { breaker, kinds, ..Default::default() }.encode_to_vec(),
        "GetIdentity" => pb::GetIdentityRequest {}.encode_to_vec(),
        "CreateToken" => {
            let roles = vec![pb::Role::Read as i32];
            let prefixes = vec!["case/".into()];
            pb::CreateTokenRequest { name: key.to_owned(), roles, prefixes, caller, expire_after: second(), reason }
                .encode_to_vec()
        }
        "ListTokens" => pb::ListTokensRequest::default().encode_to_vec(),
        "RevokeToken" => pb::RevokeTokenRequest { name: key.to_owned(), reason }.encode_to_vec(),
        "ListWebhooks" => pb::ListWebhooksRequest {}.encode_to_vec(),
        "TestWebhook" => pb::TestWebhookRequest { name: key.to_owned() }.encode_to_vec(),
        "ListAudit" => pb::ListAuditRequest { target: pattern, ..Default::default() }.encode_to_vec(),
        "GetServerInfo" => pb::GetServerInfoRequest {}.encode_to_vec(),
        "Advance" => pb::testing::AdvanceRequest { duration: second() }.encode_to_vec(),
        other => panic!("{other} has no good request in tests/bad_input/main.rs"),
    }
}

/// A message of this size, by a field that nobody knows.
fn padded(message: &[u8], size: usize) -> Vec<u8> {
    let room = size - message.len();
    let overhead = encode(UNKNOWN_FIELD, &Wire::Bytes(vec![0; room])).len() - room;
    [message, &encode(UNKNOWN_FIELD, &Wire::Bytes(vec![0; room - overhead]))].concat()
}

/// The answer, or the first error of a session's items.
fn answer_of(method: &str, answer: Answer) -> Answer {
    if method != SESSION || !matches!(answer, Answer::Message(_)) {
        return answer;
    }
    let Some(error) = answer.message::<pb::SessionResponse>().errors.into_iter().next() else { return answer };
    if !error.field.is_empty() {
        assert!(error.message.starts_with(&error.field), "{error:?}");
    }
    Answer::Error(Refusal {
        code: Code::from(error.code),
        reason: error.reason,
        field: error.field,
        message: error.message,
    })
}

/// Whether nothing was wrong with the request; what it names may not be there.
fn is_taken(answer: &Answer) -> bool {
    match answer {
        Answer::Message(_) => true,
        // Authentication is off here, and a closed breaker cannot be probed: requests that are good are refused for that alone.
        Answer::Error(refusal) => {
            refusal.code == Code::NotFound || ["AUTHENTICATION_OFF", "NOT_OPEN"].contains(&refusal.reason.as_str())
        }
        Answer::Broken(what) => panic!("not answered: {what:?}"),
    }
}

async fn alive(connection: &Connection) {
    let acquire = pb::AcquireRequest { breaker: "alive".into(), ..Default::default() };
    connection.call(ACQUIRE, &acquire.encode_to_vec()).await.message::<pb::AcquireResponse>();
}
