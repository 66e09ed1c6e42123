package supervise

import (
	"os"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// writeKubeconfig writes a kubeconfig that carries its keys inside, so that it can be copied, and pins the authority.
func writeKubeconfig(path, server string, k keys, identity string) error {
	files := make([][]byte, 3)
	for i, name := range []string{"ca.crt", identity + ".crt", identity + ".key"} {
		data, err := os.ReadFile(k.path(name))
		if err != nil {
			return err
		}
		files[i] = data
	}
	config := api.NewConfig()
	config.Clusters["testcluster"] = &api.Cluster{Server: server, CertificateAuthorityData: files[0]}
	config.AuthInfos[identity] = &api.AuthInfo{ClientCertificateData: files[1], ClientKeyData: files[2]}
	config.Contexts["testcluster"] = &api.Context{Cluster: "testcluster", AuthInfo: identity, Namespace: "default"}
	config.CurrentContext = "testcluster"
	return clientcmd.WriteToFile(*config, path)
}
