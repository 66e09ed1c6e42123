// vault is the core of HashiCorp Vault behind its own HTTP API, with the engines that Countersign speaks to: transit, KV
// version 2, sign-in by Kubernetes' service accounts. It keeps all in memory, starts unsealed, and mounts nothing: a test
// does that over the API, as an operator would.
//
// For tests only. Vault is under the Business Source License, so nothing of it is in what is shipped.
//
//	COUNTERSIGN_VAULT_ROOT_TOKEN=hvs.… countersign-vault 127.0.0.1:8200
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	kubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/builtin/logical/transit"
	"github.com/hashicorp/vault/helper/namespace"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

// rootToken names the variable with the token of an operator who may do all.
const rootToken = "COUNTERSIGN_VAULT_ROOT_TOKEN"

func main() {
	if len(os.Args) != 2 || os.Getenv(rootToken) == "" {
		log.Fatalf("usage: %s=TOKEN countersign-vault ADDRESS", rootToken)
	}
	if err := serve(os.Args[1], os.Getenv(rootToken)); err != nil {
		log.Fatal(err)
	}
}

func serve(address, token string) error {
	core, err := unsealed(token)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: vaulthttp.Handler.Handler(&vault.HandlerProperties{
			Core:           core,
			ListenerConfig: &configutil.Listener{},
		}),
		ReadHeaderTimeout: 10 * time.Second,
	}
	return server.Serve(listener)
}

// unsealed makes a Vault of its own, whose one root token is the given one.
func unsealed(token string) (*vault.Core, error) {
	logger := hclog.New(&hclog.LoggerOptions{Output: os.Stderr, Level: hclog.Warn})
	memory, err := inmem.NewInmem(nil, logger)
	if err != nil {
		return nil, err
	}
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical:           memory,
		Logger:             logger,
		DisableMlock:       true,
		BuiltinRegistry:    engines{},
		LogicalBackends:    map[string]logical.Factory{"kv": kv.Factory, "transit": transit.Factory},
		CredentialBackends: map[string]logical.Factory{"kubernetes": kubernetes.Factory},
	})
	if err != nil {
		return nil, err
	}
	ctx := namespace.RootContext(context.Background())
	begun, err := core.Initialize(ctx, &vault.InitParams{
		BarrierConfig: &vault.SealConfig{SecretShares: 1, SecretThreshold: 1, StoredShares: 1},
	})
	if err != nil {
		return nil, fmt.Errorf("initialise: %w", err)
	}
	open, err := core.Unseal(begun.SecretShares[0])
	if err != nil {
		return nil, fmt.Errorf("unseal: %w", err)
	}
	if !open {
		return nil, errors.New("the core is still sealed")
	}
	return core, exchange(ctx, core, begun.RootToken, token)
}

// exchange replaces the first root token, which nobody knows, by one that the caller chose.
func exchange(ctx context.Context, core *vault.Core, first, chosen string) error {
	made, err := core.HandleRequest(ctx, &logical.Request{
		Operation:   logical.UpdateOperation,
		ClientToken: first,
		Path:        "auth/token/create",
		Data: map[string]any{
			"id":                chosen,
			"policies":          []string{"root"},
			"no_parent":         true,
			"no_default_policy": true,
		},
	})
	if err != nil {
		return fmt.Errorf("make the root token: %w", err)
	}
	if made == nil || made.Auth == nil {
		return errors.New("no root token was made")
	}
	_, err = core.HandleRequest(ctx, &logical.Request{
		Operation:   logical.UpdateOperation,
		ClientToken: first,
		Path:        "auth/token/revoke-self",
	})
	return err
}

// engines says which plugins are built in: those that were handed to the core as factories, and no others.
type engines struct{}

// builtin lists them by type.
var builtin = map[consts.PluginType]map[string]logical.Factory{
	consts.PluginTypeSecrets:    {"kv": kv.Factory, "transit": transit.Factory},
	consts.PluginTypeCredential: {"kubernetes": kubernetes.Factory},
}

func (engines) Contains(name string, kind consts.PluginType) bool {
	_, found := builtin[kind][name]
	return found
}

func (engines) Get(name string, kind consts.PluginType) (func() (any, error), bool) {
	factory, found := builtin[kind][name]
	return func() (any, error) { return factory, nil }, found
}

func (engines) Keys(kind consts.PluginType) []string {
	var names []string
	for name := range builtin[kind] {
		names = append(names, name)
	}
	return names
}

func (engines) DeprecationStatus(name string, kind consts.PluginType) (consts.DeprecationStatus, bool) {
	if !(engines{}).Contains(name, kind) {
		return consts.Unknown, false
	}
	return consts.Supported, true
}

func (engines) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }
