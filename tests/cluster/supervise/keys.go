package supervise

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// keyLife is how long the certificates of a test cluster hold; a demo may be left running for weeks.
const keyLife = 365 * 24 * time.Hour

// keys are the files of one control plane: one authority, which signs the API server and every client.
type keys struct {
	dir string
}

// identities are the clients that get a certificate: file name, user and group.
var identities = []struct{ name, user, group string }{
	{"admin", "admin", "system:masters"},
	{"kube-controller-manager", "system:kube-controller-manager", ""},
	{"kube-scheduler", "system:kube-scheduler", ""},
	{"kwok", "kwok", "system:masters"},
}

func (k keys) path(file string) string { return filepath.Join(k.dir, file) }

// makeKeys writes the keys, or leaves those of an earlier start as they are.
func makeKeys(dir string) (keys, error) {
	k := keys{dir: dir}
	if _, err := os.Stat(k.path("complete")); err == nil {
		return k, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return k, err
	}
	if err := k.write(); err != nil {
		return k, fmt.Errorf("make keys: %w", err)
	}
	return k, os.WriteFile(k.path("complete"), nil, 0o600)
}

func (k keys) write() error {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	ca, err := template(pkix.Name{CommonName: "countersign test cluster"})
	if err != nil {
		return err
	}
	ca.IsCA, ca.BasicConstraintsValid = true, true
	ca.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	if err := k.writePair("ca", ca, ca, caKey, caKey); err != nil {
		return err
	}

	server, err := template(pkix.Name{CommonName: "kube-apiserver"})
	if err != nil {
		return err
	}
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	server.DNSNames = []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}
	server.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 96, 0, 1)}
	if err := k.sign("kube-apiserver", server, ca, caKey); err != nil {
		return err
	}
	for _, id := range identities {
		name := pkix.Name{CommonName: id.user}
		if id.group != "" {
			name.Organization = []string{id.group}
		}
		client, err := template(name)
		if err != nil {
			return err
		}
		client.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		if err := k.sign(id.name, client, ca, caKey); err != nil {
			return err
		}
	}
	return k.writeTokenKey()
}

// writeTokenKey makes the pair that signs and checks service-account tokens.
func (k keys) writeTokenKey() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	return errors.Join(
		writePEM(k.path("service-account.key"), "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)),
		writePEM(k.path("service-account.pub"), "PUBLIC KEY", public),
	)
}

func template(subject pkix.Name) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      subject,
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(keyLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}, nil
}

func (k keys) sign(name string, leaf, ca *x509.Certificate, caKey *ecdsa.PrivateKey) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	return k.writePair(name, leaf, ca, key, caKey)
}

func (k keys) writePair(name string, leaf, ca *x509.Certificate, key, caKey *ecdsa.PrivateKey) error {
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return err
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		writePEM(k.path(name+".crt"), "CERTIFICATE", der),
		writePEM(k.path(name+".key"), "EC PRIVATE KEY", private),
	)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
