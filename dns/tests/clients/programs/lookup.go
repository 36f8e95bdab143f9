// Answers each line "addresses NAME" or "services NAME" of standard input by Go's own resolver.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
)

func main() {
	resolver := net.Resolver{PreferGo: true}
	var kind, name string
	for {
		if _, err := fmt.Scan(&kind, &name); err != nil {
			return
		}
		var found []string
		var err error
		if kind == "addresses" {
			found, err = resolver.LookupHost(context.Background(), name)
		} else {
			var services []*net.SRV
			_, services, err = resolver.LookupSRV(context.Background(), "", "", name)
			for _, service := range services {
				found = append(found, fmt.Sprintf("%d/%s", service.Port, service.Target))
			}
		}
		var failed *net.DNSError
		if errors.As(err, &failed) && failed.IsNotFound {
			found = []string{"not-found"}
		} else if err != nil {
			found = []string{"error:", err.Error()}
		}
		fmt.Printf("%s %s:", kind, name)
		for _, one := range found {
			fmt.Print(" ", one)
		}
		fmt.Println()
	}
}
