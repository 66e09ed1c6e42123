package supervise

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports are taken below the range from which the kernel takes those of outgoing connections, so that none is lost
// between the moment it is found free and the moment a part binds it.
const (
	lowestPort  = 12000
	highestPort = 31999
	portTries   = 200
)

// freePort returns a loopback port that nobody listens on.
func freePort() (int, error) {
	for range portTries {
		port := lowestPort + rand.IntN(highestPort-lowestPort+1)
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		return port, listener.Close()
	}
	return 0, errors.New("no free loopback port found")
}

func takePorts(apiserver int) (ports, error) {
	p := ports{apiserver: apiserver}
	for _, port := range []*int{&p.etcdClient, &p.etcdPeer, &p.apiserver} {
		for *port == 0 {
			taken, err := freePort()
			if err != nil {
				return p, err
			}
			if taken != p.etcdClient && taken != p.etcdPeer && taken != p.apiserver {
				*port = taken
			}
		}
	}
	return p, nil
}
