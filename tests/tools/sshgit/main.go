// sshgit is a real SSH server that offers one thing, git-upload-pack of the repositories in a folder: what a forge offers
// to a hub that follows an ssh:// URL. For tests only.
//
//	sshgit keys DIR                 writes the key pairs id (who may read) and host into DIR
//	sshgit serve DIR ROOT ADDRESS   serves the repositories in ROOT to the key in DIR
package main

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
)

func main() {
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "keys":
		err = keys(os.Args[2])
	case len(os.Args) == 5 && os.Args[1] == "serve":
		err = serve(os.Args[2], os.Args[3], os.Args[4])
	default:
		err = errors.New("usage: sshgit keys DIR | sshgit serve DIR ROOT ADDRESS")
	}
	if err != nil {
		log.Fatal(err)
	}
}

// keys makes the key of the one who may read and the key of the host, in OpenSSH's own form.
func keys(dir string) error {
	for _, name := range []string{"id", "host"} {
		public, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			return err
		}
		block, err := ssh.MarshalPrivateKey(private, name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
		line, err := ssh.NewPublicKey(public)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name+".pub"), ssh.MarshalAuthorizedKey(line), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func serve(dir, root, address string) error {
	host, err := os.ReadFile(filepath.Join(dir, "host"))
	if err != nil {
		return err
	}
	signer, err := ssh.ParsePrivateKey(host)
	if err != nil {
		return err
	}
	line, err := os.ReadFile(filepath.Join(dir, "id.pub"))
	if err != nil {
		return err
	}
	allowed, _, _, _, err := ssh.ParseAuthorizedKey(line)
	if err != nil {
		return err
	}
	config := &ssh.ServerConfig{
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if string(key.Marshal()) != string(allowed.Marshal()) {
				return nil, errors.New("unknown key")
			}
			return nil, nil
		},
	}
	config.AddHostKey(signer)
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			if err := talk(connection, config, root); err != nil {
				log.Printf("connection: %v", err)
			}
		}()
	}
}

func talk(connection net.Conn, config *ssh.ServerConfig, root string) error {
	defer connection.Close()
	_, channels, requests, err := ssh.NewServerConn(connection, config)
	if err != nil {
		return err
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		if offered.ChannelType() != "session" {
			if err := offered.Reject(ssh.UnknownChannelType, "sessions only"); err != nil {
				return err
			}
			continue
		}
		channel, requests, err := offered.Accept()
		if err != nil {
			return err
		}
		go session(channel, requests, root)
	}
	return nil
}

// session answers the requests of one channel; the first "exec" decides what it does.
func session(channel ssh.Channel, requests <-chan *ssh.Request, root string) {
	defer channel.Close()
	protocol := ""
	for request := range requests {
		switch request.Type {
		case "env":
			var variable struct{ Name, Value string }
			if ssh.Unmarshal(request.Payload, &variable) == nil && variable.Name == "GIT_PROTOCOL" {
				protocol = variable.Value
			}
			_ = request.Reply(true, nil)
		case "exec":
			var command struct{ Line string }
			if err := ssh.Unmarshal(request.Payload, &command); err != nil {
				_ = request.Reply(false, nil)
				return
			}
			_ = request.Reply(true, nil)
			status := uploadPack(channel, command.Line, protocol, root)
			_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
			return
		default:
			_ = request.Reply(false, nil)
		}
	}
}

// uploadPack runs git-upload-pack for a repository directly in root, and nothing else.
func uploadPack(channel ssh.Channel, line, protocol, root string) uint32 {
	path, found := strings.CutPrefix(line, "git-upload-pack '")
	path, closed := strings.CutSuffix(path, "'")
	if !found || !closed || filepath.Base(path) != strings.TrimPrefix(path, "/") {
		fmt.Fprintln(channel.Stderr(), "refused")
		return 128
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	git := exec.CommandContext(ctx, "git", "upload-pack", filepath.Join(root, filepath.Base(path)))
	git.Env = append(os.Environ(), "GIT_PROTOCOL="+protocol)
	git.Stdout, git.Stderr = channel, channel.Stderr()
	input, err := git.StdinPipe()
	if err != nil {
		return 128
	}
	if err := git.Start(); err != nil {
		return 128
	}
	// The client may close only after it has all: Wait must not wait for its end of the channel.
	go func() {
		_, _ = io.Copy(input, channel)
		_ = input.Close()
	}()
	if err := git.Wait(); err != nil {
		return 128
	}
	return 0
}
