package fuseboardtest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// startTimeout is far beyond what a server needs; a machine may be busy.
const startTimeout = 30 * time.Second

// Server is a server of a test's own, which keeps nothing, on a free port of the loopback.
type Server struct {
	// Address is "host:port".
	Address string
	process *exec.Cmd
	ended   chan struct{}
	log     lockedBuffer
}

// StartServer starts the binary that FUSEBOARD_BIN names, with these flags besides --ephemeral and --address
// ("--manual-clock"), and waits until it listens. Stop it.
func StartServer(flags ...string) (*Server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := listener.Addr().String()
	_ = listener.Close()
	return StartServerAt(address, flags...)
}

// StartServerAt is StartServer at an address, for a server that comes back.
func StartServerAt(address string, flags ...string) (*Server, error) {
	binary := os.Getenv("FUSEBOARD_BIN")
	if binary == "" {
		return nil, errors.New("fuseboardtest: FUSEBOARD_BIN is to name the fuseboard binary")
	}
	s := &Server{Address: address, ended: make(chan struct{})}
	s.process = exec.Command(binary, append([]string{"serve", "--ephemeral", "--address", address, "--http-address", "off"}, flags...)...)
	s.process.Stdout, s.process.Stderr = &s.log, &s.log
	for _, variable := range os.Environ() {
		// What the developer's shell sets must not change what is tested.
		if !strings.HasPrefix(variable, "FUSEBOARD_") {
			s.process.Env = append(s.process.Env, variable)
		}
	}
	if err := s.process.Start(); err != nil {
		return nil, fmt.Errorf("fuseboardtest: FUSEBOARD_BIN: %w", err)
	}
	go func() {
		_ = s.process.Wait()
		close(s.ended)
	}()
	return s, s.awaitListening()
}

func (s *Server) awaitListening() error {
	deadline := time.Now().Add(startTimeout)
	for {
		conn, err := net.DialTimeout("tcp", s.Address, time.Second)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-s.ended:
			return fmt.Errorf("fuseboardtest: the server ended at its start:\n%s", s.log.String())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.Stop()
			return fmt.Errorf("fuseboardtest: the server does not listen after %s:\n%s", startTimeout, s.log.String())
		}
	}
}

// Stop kills the server and waits until it is gone. Stopping twice does nothing.
func (s *Server) Stop() {
	_ = s.process.Process.Kill()
	<-s.ended
}

type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(text)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
