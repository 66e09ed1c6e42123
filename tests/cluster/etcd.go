package main

import (
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// etcdStart is the longest that an empty single-member store may take to elect itself.
const etcdStart = 60 * time.Second

// etcd runs one single-member store on two loopback ports until a signal or an error ends it.
func etcd(args []string) int {
	flags := flag.NewFlagSet("etcd", flag.ContinueOnError)
	data := flags.String("data-dir", "", "folder of the store (required)")
	clientPort := flags.Int("client-port", 0, "loopback port for clients (required)")
	peerPort := flags.Int("peer-port", 0, "loopback port for peers (required)")
	fsync := flags.Bool("fsync", false, "sync each write to disk; off, a power cut can lose writes and nothing else can")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if *data == "" || *clientPort == 0 || *peerPort == 0 {
		fmt.Fprintln(os.Stderr, "etcd: --data-dir, --client-port and --peer-port are required")
		return 2
	}
	if err := runEtcd(*data, *clientPort, *peerPort, *fsync); err != nil {
		fmt.Fprintln(os.Stderr, "etcd:", err)
		return 1
	}
	return 0
}

func runEtcd(data string, clientPort, peerPort int, fsync bool) error {
	client, peer := loopback(clientPort), loopback(peerPort)
	config := embed.NewConfig()
	config.Name = "testcluster"
	config.Dir = data
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.UnsafeNoFsync = !fsync
	config.LogLevel = "warn"
	config.QuotaBackendBytes = 2 << 30
	// A busy machine must not make the only member lose an election against nobody.
	config.TickMs, config.ElectionMs = 500, 5000
	config.InitialElectionTickAdvance = true

	server, err := embed.StartEtcd(config)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	defer server.Close()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	select {
	case <-server.Server.ReadyNotify():
	case <-server.Server.StopNotify():
		return errors.New("stopped before it was ready")
	case err := <-server.Err():
		return fmt.Errorf("listen: %w", err)
	case <-time.After(etcdStart):
		return fmt.Errorf("not ready after %s", etcdStart)
	}
	select {
	case <-stop:
		return nil
	case <-server.Server.StopNotify():
		return errors.New("stopped by itself")
	case err := <-server.Err():
		return fmt.Errorf("serve: %w", err)
	}
}

func loopback(port int) url.URL {
	return url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", port)}
}
