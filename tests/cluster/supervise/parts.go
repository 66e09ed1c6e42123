package supervise

import (
	"fmt"
	"path/filepath"
)

// part is one process of the control plane: what to run, decided before anything runs.
type part struct {
	name string
	argv []string
}

// ports are loopback ports, taken free at each start.
type ports struct {
	etcdClient, etcdPeer, apiserver int
}

func (o Options) etcdPart(p ports) part {
	return part{"etcd", []string{
		o.Self, "etcd",
		"--data-dir=" + filepath.Join(o.Dir, "etcd"),
		fmt.Sprintf("--client-port=%d", p.etcdClient),
		fmt.Sprintf("--peer-port=%d", p.etcdPeer),
		fmt.Sprintf("--fsync=%t", o.Fsync),
	}}
}

func (o Options) apiserverPart(p ports, k keys) part {
	argv := []string{
		o.Self, "kube-apiserver",
		fmt.Sprintf("--etcd-servers=http://127.0.0.1:%d", p.etcdClient),
		"--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", p.apiserver),
		"--advertise-address=127.0.0.1",
		// The "kubernetes" Service would need an endpoint that is not loopback; nothing in the cluster can reach one.
		"--endpoint-reconciler-type=none",
		"--tls-cert-file=" + k.path("kube-apiserver.crt"),
		"--tls-private-key-file=" + k.path("kube-apiserver.key"),
		"--client-ca-file=" + k.path("ca.crt"),
		"--authorization-mode=RBAC",
		"--service-cluster-ip-range=10.96.0.0/16",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + k.path("service-account.pub"),
		"--service-account-signing-key-file=" + k.path("service-account.key"),
		"--allow-privileged=true",
		"--profiling=false",
	}
	if o.Audit != "" {
		argv = append(argv, "--audit-log-path="+o.Audit, "--audit-policy-file="+o.auditPolicy())
	}
	return part{"kube-apiserver", append(argv, o.APIServerArgs...)}
}

// auditPolicy is a line a request when it is done, without bodies: tests count who asked for what.
const auditPolicyText = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: ["RequestReceived", "ResponseStarted"]
rules:
- level: Metadata
`

func (o Options) auditPolicy() string { return filepath.Join(o.Dir, "audit-policy.yaml") }

func (o Options) kubeconfig(identity string) string {
	if identity == "admin" {
		return filepath.Join(o.Dir, "kubeconfig")
	}
	return filepath.Join(o.Dir, "kubeconfig-"+identity)
}

func (o Options) controllerManagerPart(k keys) part {
	return part{"kube-controller-manager", []string{
		o.Self, "kube-controller-manager",
		"--kubeconfig=" + o.kubeconfig("kube-controller-manager"),
		"--controllers=*",
		"--leader-elect=false",
		"--secure-port=0",
		"--use-service-account-credentials=true",
		"--service-account-private-key-file=" + k.path("service-account.key"),
		"--root-ca-file=" + k.path("ca.crt"),
		"--cluster-signing-cert-file=" + k.path("ca.crt"),
		"--cluster-signing-key-file=" + k.path("ca.key"),
		// Many tests share two cores: a starved simulator must not make its nodes unreachable.
		"--node-monitor-grace-period=10m",
		"--kube-api-qps=100", "--kube-api-burst=200",
	}}
}

func (o Options) schedulerPart() part {
	return part{"kube-scheduler", []string{
		o.Self, "kube-scheduler",
		"--kubeconfig=" + o.kubeconfig("kube-scheduler"),
		"--leader-elect=false",
		"--secure-port=0",
		"--kube-api-qps=100", "--kube-api-burst=200",
	}}
}

func (o Options) kwokPart() part {
	return part{"kwok", []string{
		o.Kwok,
		"--kubeconfig=" + o.kubeconfig("kwok"),
		"--config=" + o.stages(),
		"--manage-nodes-with-annotation-selector=" + simulated + "=fake",
		"--node-lease-duration-seconds=40",
		"--cidr=10.64.0.1/10",
		"--server-address=",
	}}
}

// simulated is the annotation by which the simulator knows its nodes.
const simulated = "kwok.x-k8s.io/node"

func (o Options) stages() string { return filepath.Join(o.Dir, "kwok-stages.yaml") }
