package supervise

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

func TestClientsAndServerAreSignedByTheOneAuthority(t *testing.T) {
	k, err := makeKeys(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate(t, k, "ca"))
	server := certificate(t, k, "kube-apiserver")
	for _, name := range []string{"127.0.0.1", "localhost", "kubernetes.default.svc"} {
		if _, err := server.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("server as %s: %v", name, err)
		}
	}
	for _, id := range identities {
		client := certificate(t, k, id.name)
		usage := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		if _, err := client.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: usage}); err != nil {
			t.Errorf("%s: %v", id.name, err)
		}
		if client.Subject.CommonName != id.user {
			t.Errorf("%s: user is %q", id.name, client.Subject.CommonName)
		}
	}
}

func TestASecondStartKeepsTheKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	first, err := makeKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	before := certificate(t, first, "ca").Raw
	second, err := makeKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, certificate(t, second, "ca").Raw) {
		t.Error("the authority was made anew: a restarted cluster would be another one")
	}
}

func TestTheKubeconfigStandsAlone(t *testing.T) {
	dir := t.TempDir()
	k, err := makeKeys(filepath.Join(dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "kubeconfig")
	if err := writeKubeconfig(path, "https://127.0.0.1:1", k, "admin"); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(k.dir); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	if len(config.CAData) == 0 || len(config.CertData) == 0 || config.Insecure {
		t.Error("the kubeconfig does not pin the authority or carries no client key")
	}
}

func certificate(t *testing.T, k keys, name string) *x509.Certificate {
	t.Helper()
	data, err := os.ReadFile(k.path(name + ".crt"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
