package fuseboard_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"fuseboard.dev/fuseboard"
	fuseboardv1 "fuseboard.dev/fuseboard/gen/fuseboard/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"
)

// terminator is as much of a server as a client needs to see that it is there: it permits everything, and remembers the
// token.
type terminator struct {
	fuseboardv1.UnimplementedBreakerServiceServer
	authorization atomic.Value
}

func (s *terminator) Session(stream grpc.BidiStreamingServer[fuseboardv1.SessionRequest, fuseboardv1.SessionResponse]) error {
	headers, _ := metadata.FromIncomingContext(stream.Context())
	s.authorization.Store(headers.Get("authorization"))
	for {
		frame, err := stream.Recv()
		if err != nil {
			return err
		}
		answer := &fuseboardv1.SessionResponse{}
		for _, batch := range frame.GetBatches() {
			answer.Batches = append(answer.Batches, &fuseboardv1.SessionBatchReported{
				Number: batch.GetNumber(), Response: &fuseboardv1.ReportBatchResponse{},
			})
		}
		for _, acquire := range frame.GetAcquires() {
			answer.Acquired = append(answer.Acquired, &fuseboardv1.SessionAcquired{
				Number: acquire.GetNumber(), Decision: fuseboardv1.Decision_DECISION_PERMITTED,
				State: fuseboardv1.State_STATE_CLOSED, Generation: 1, Permit: []byte("p"), Lease: durationpb.New(time.Minute),
			})
		}
		for _, report := range frame.GetReports() {
			answer.Reported = append(answer.Reported, &fuseboardv1.SessionReported{
				Number: report.GetNumber(), State: fuseboardv1.State_STATE_CLOSED, Generation: 1,
			})
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}

func (s *terminator) WatchEvents(_ *fuseboardv1.WatchEventsRequest, stream grpc.ServerStreamingServer[fuseboardv1.WatchEventsResponse]) error {
	err := stream.Send(&fuseboardv1.WatchEventsResponse{
		ResumeToken: "t", Message: &fuseboardv1.WatchEventsResponse_Snapshot{Snapshot: &fuseboardv1.Snapshot{Complete: true}},
	})
	<-stream.Context().Done()
	return err
}

// selfSigned is a certificate for "fuseboard.test", and the roots that trust it.
func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"fuseboard.test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

func TestTLSAndTheTokenReachTheServer(t *testing.T) {
	certificate, roots := selfSigned(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	service := &terminator{}
	server := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&certificate)))
	fuseboardv1.RegisterBreakerServiceServer(server, service)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)

	client := newClient(t, "https://"+listener.Addr().String(), func(o *fuseboard.Options) {
		o.Token = "secret"
		o.TLS = &tls.Config{RootCAs: roots, ServerName: "fuseboard.test", MinVersion: tls.VersionTLS12}
	})
	breaker := newBreaker(t, client, "tls", fuseboard.BreakerOptions{})
	if _, err := fuseboard.Execute(t.Context(), breaker, works); err != nil {
		t.Fatal(err)
	}
	if got := client.Stats().Permits; got != (fuseboard.Counts{Server: 1}) {
		t.Errorf("permits are %+v", got)
	}
	if got, _ := service.authorization.Load().([]string); len(got) != 1 || got[0] != "Bearer secret" {
		t.Errorf("authorization is %q", got)
	}
}

func TestAServerThatIsNotTrustedIsNotAsked(t *testing.T) {
	certificate, _ := selfSigned(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&certificate)))
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	client := newClient(t, "https://"+listener.Addr().String(), nil)
	breaker, err := client.Breaker("tls", fuseboard.BreakerOptions{WhenUnavailable: fuseboard.UnavailableReject})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), generous)
	defer cancel()
	if _, err := fuseboard.Execute(ctx, breaker, works); err == nil {
		t.Error("the call was permitted")
	}
}
