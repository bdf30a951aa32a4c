// go-spiffe against avouch's Workload API: fetch, watch through a rotation, validate a JWT-SVID.
// Prints one word and one value per line; the test that starts it compares them.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

const audience = "interop.example.test"

func main() {
	wait, err := time.ParseDuration(os.Args[1] + "s")
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()

	source, err := workloadapi.NewX509Source(ctx)
	if err != nil {
		log.Fatalf("X.509 source: %v", err)
	}
	defer source.Close()
	first, err := source.GetX509SVID()
	if err != nil {
		log.Fatalf("X.509-SVID: %v", err)
	}
	fmt.Println("id", first.ID)
	fmt.Println("first", first.Certificates[0].SerialNumber)
	bundle, err := source.GetX509BundleForTrustDomain(first.ID.TrustDomain())
	if err != nil {
		log.Fatalf("X.509 bundle: %v", err)
	}
	fmt.Println("authorities", len(bundle.X509Authorities()))

	for {
		if err := source.WaitUntilUpdated(ctx); err != nil {
			log.Fatalf("no rotation was seen: %v", err)
		}
		second, err := source.GetX509SVID()
		if err != nil {
			log.Fatalf("X.509-SVID after an update: %v", err)
		}
		if second.Certificates[0].SerialNumber.Cmp(first.Certificates[0].SerialNumber) != 0 {
			fmt.Println("second", second.Certificates[0].SerialNumber)
			break
		}
	}

	tokens, err := workloadapi.NewJWTSource(ctx)
	if err != nil {
		log.Fatalf("JWT source: %v", err)
	}
	defer tokens.Close()
	token, err := tokens.FetchJWTSVID(ctx, jwtsvid.Params{Audience: audience})
	if err != nil {
		log.Fatalf("JWT-SVID: %v", err)
	}
	// Verified here, from the bundle alone, and not by asking the helper.
	valid, err := jwtsvid.ParseAndValidate(token.Marshal(), tokens, []string{audience})
	if err != nil {
		log.Fatalf("JWT-SVID is not valid: %v", err)
	}
	fmt.Println("jwt", valid.ID)
	if _, err := jwtsvid.ParseAndValidate(token.Marshal(), tokens, []string{"other.example.test"}); err != nil {
		fmt.Println("foreign-audience", "refused")
	}
}
