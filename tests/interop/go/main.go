// go-spiffe against avouch's Workload API: fetches, watches through rotations of SVIDs and authorities, validates
// JWT-SVIDs from the bundle alone, and holds mTLS with other clients while opening new handshakes all the time.
// What it takes and prints is described in ../README.md.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

const (
	audience = "interop.example.test"
	pause    = 200 * time.Millisecond
	deadline = 20 * time.Second
)

func main() {
	meeting, name := os.Args[1], os.Args[2]
	seconds, err := strconv.Atoi(os.Args[3])
	fatal("seconds", err)
	count, err := strconv.Atoi(os.Args[4])
	fatal("count", err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(seconds)*time.Second+5*time.Minute)
	defer cancel()

	source, err := workloadapi.NewX509Source(ctx)
	fatal("X.509 source", err)
	defer source.Close()
	tokens, err := workloadapi.NewJWTSource(ctx)
	fatal("JWT source", err)
	defer tokens.Close()
	svid, err := source.GetX509SVID()
	fatal("X.509-SVID", err)
	id := svid.ID
	fmt.Println("id", id)
	fmt.Println("jwt", validated(ctx, tokens))

	listener, err := tls.Listen("tcp", "127.0.0.1:0",
		tlsconfig.MTLSServerConfig(source, source, tlsconfig.AuthorizeMemberOf(id.TrustDomain())))
	fatal("listener", err)
	go serve(listener)
	announce(meeting, name+".port", strconv.Itoa(listener.Addr().(*net.TCPAddr).Port))
	wait(meeting, ".port", count)

	seen := watch(source)
	var handshakes, failed int
	var held, heldFailed atomic.Int64
	until := time.Now().Add(time.Duration(seconds) * time.Second)
	peers, err := filepath.Glob(filepath.Join(meeting, "*.port"))
	fatal("peers", err)
	for _, peer := range peers {
		go hold(source, id, peer, until, &held, &heldFailed)
	}
	for turn := 0; time.Now().Before(until); turn++ {
		if err := call(source, id, peers[turn%len(peers)]); err != nil {
			log.Printf("handshake with %s: %v", peers[turn%len(peers)], err)
			failed++
		} else {
			handshakes++
		}
		time.Sleep(pause)
	}
	fmt.Println("jwt-later", validated(ctx, tokens))
	seen.print()
	fmt.Println("handshakes", handshakes)
	fmt.Println("failed", failed)
	fmt.Println("held", held.Load())
	fmt.Println("held-failed", heldFailed.Load())
	announce(meeting, name+".done", "")
	wait(meeting, ".done", count)
}

// validated fetches a JWT-SVID and checks it here, from the bundle alone, and not by asking the helper.
func validated(ctx context.Context, tokens *workloadapi.JWTSource) spiffeid.ID {
	token, err := tokens.FetchJWTSVID(ctx, jwtsvid.Params{Audience: audience})
	fatal("JWT-SVID", err)
	valid, err := jwtsvid.ParseAndValidate(token.Marshal(), tokens, []string{audience})
	fatal("JWT-SVID is not valid", err)
	if _, err := jwtsvid.ParseAndValidate(token.Marshal(), tokens, []string{"other.example.test"}); err != nil {
		fmt.Println("foreign-audience", "refused")
	}
	return valid.ID
}

// seen is what the source has had, one after another.
type seen struct {
	serials, authorities, signers map[string]bool
	stop, stopped                 chan struct{}
}

func watch(source *workloadapi.X509Source) *seen {
	seen := &seen{map[string]bool{}, map[string]bool{}, map[string]bool{}, make(chan struct{}), make(chan struct{})}
	go func() {
		defer close(seen.stopped)
		for {
			svid, err := source.GetX509SVID()
			fatal("X.509-SVID", err)
			bundle, err := source.GetX509BundleForTrustDomain(svid.ID.TrustDomain())
			fatal("X.509 bundle", err)
			leaf := svid.Certificates[0]
			seen.serials[leaf.SerialNumber.String()] = true
			for _, authority := range bundle.X509Authorities() {
				digest := sha256.Sum256(authority.Raw)
				seen.authorities[string(digest[:])] = true
				if leaf.CheckSignatureFrom(authority) == nil {
					seen.signers[string(digest[:])] = true
				}
			}
			select {
			case <-source.Updated():
			case <-seen.stop:
				return
			}
		}
	}()
	return seen
}

func (seen *seen) print() {
	close(seen.stop)
	<-seen.stopped
	fmt.Println("serials", len(seen.serials))
	fmt.Println("authorities", len(seen.authorities))
	fmt.Println("signers", len(seen.signers))
}

// serve answers each line with the SPIFFE ID of whoever sent it.
func serve(listener net.Listener) {
	for {
		accepted, err := listener.Accept()
		fatal("accept", err)
		go func() {
			defer accepted.Close()
			connection := accepted.(*tls.Conn)
			if err := connection.Handshake(); err != nil {
				log.Printf("serving: %v", err)
				return
			}
			peer := connection.ConnectionState().PeerCertificates[0]
			lines := bufio.NewScanner(connection)
			for lines.Scan() {
				fmt.Fprintln(connection, peer.URIs[0])
			}
		}()
	}
}

func dial(source *workloadapi.X509Source, id spiffeid.ID, peer string) (*tls.Conn, error) {
	port, err := os.ReadFile(peer)
	if err != nil {
		return nil, err
	}
	name := strings.TrimSuffix(filepath.Base(peer), ".port")
	wanted, err := spiffeid.FromPath(id.TrustDomain(), "/agent/"+name)
	if err != nil {
		return nil, err
	}
	config := tlsconfig.MTLSClientConfig(source, source, tlsconfig.AuthorizeID(wanted))
	dialer := &net.Dialer{Timeout: deadline}
	return tls.DialWithDialer(dialer, "tcp", "127.0.0.1:"+string(port), config)
}

func ask(connection *tls.Conn, id spiffeid.ID) error {
	if err := connection.SetDeadline(time.Now().Add(deadline)); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(connection, "who am I?"); err != nil {
		return err
	}
	answer, err := bufio.NewReader(connection).ReadString('\n')
	if err == nil && strings.TrimSpace(answer) != id.String() {
		err = fmt.Errorf("taken for %q", answer)
	}
	return err
}

func call(source *workloadapi.X509Source, id spiffeid.ID, peer string) error {
	connection, err := dial(source, id, peer)
	if err != nil {
		return err
	}
	defer connection.Close()
	return ask(connection, id)
}

// hold keeps one connection and goes on using it, whatever is rotated meanwhile.
func hold(source *workloadapi.X509Source, id spiffeid.ID, peer string, until time.Time, held, failed *atomic.Int64) {
	connection, err := dial(source, id, peer)
	for err == nil && time.Now().Before(until) {
		if err = ask(connection, id); err == nil {
			held.Add(1)
			time.Sleep(time.Second)
		}
	}
	if err != nil {
		log.Printf("held connection to %s: %v", peer, err)
		failed.Add(1)
		return
	}
	connection.Close()
}

// announce writes a file in one step.
func announce(folder, name, text string) {
	path := filepath.Join(folder, name)
	fatal("announce", os.WriteFile(path+".new", []byte(text), 0o600))
	fatal("announce", os.Rename(path+".new", path))
}

func wait(folder, ending string, count int) {
	for begun := time.Now(); time.Since(begun) < 2*time.Minute; time.Sleep(50 * time.Millisecond) {
		found, err := filepath.Glob(filepath.Join(folder, "*"+ending))
		fatal("wait", err)
		if len(found) >= count {
			return
		}
	}
	log.Fatalf("not all of %d have announced %s", count, ending)
}

func fatal(what string, err error) {
	if err != nil {
		log.Fatalf("%s: %v", what, err)
	}
}
