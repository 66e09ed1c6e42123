// Package okta stands in for the client of a service that asks people for a second factor. No test has one, and its
// thousand files would have to be compiled.
package okta

import (
	"context"
	"errors"
	"net/http"
)

var errAbsent = errors.New("asking Okta is not in this build")

// Configuration is of no use.
type Configuration struct{ Context context.Context }

// ConfigSetter changes nothing.
type ConfigSetter func(*Configuration)

// NewConfiguration fails: nothing else here is ever reached.
func NewConfiguration(...ConfigSetter) (*Configuration, error) { return nil, errAbsent }

// WithToken takes what is never sent.
func WithToken(string) ConfigSetter { return func(*Configuration) {} }

// WithOrgUrl takes what is never asked.
func WithOrgUrl(string) ConfigSetter { return func(*Configuration) {} }

// WithCache changes nothing.
func WithCache(bool) ConfigSetter { return func(*Configuration) {} }

// APIClient has the calls that Vault makes; each fails.
type APIClient struct {
	config        *Configuration
	UserAPI       Users
	UserFactorAPI Factors
}

// NewAPIClient makes one.
func NewAPIClient(config *Configuration) *APIClient { return &APIClient{config: config} }

// GetConfig gives back what it was made with.
func (c *APIClient) GetConfig() *Configuration { return c.config }

// Call is a request that is never sent.
type Call[T any] struct{}

// Filter changes nothing.
func (c Call[T]) Filter(string) Call[T] { return c }

// Execute fails.
func (Call[T]) Execute() (T, *http.Response, error) {
	var none T
	return none, nil, errAbsent
}

// Users are never listed.
type Users struct{}

// ListUsers fails once it is executed.
func (Users) ListUsers(context.Context) Call[[]User] { return Call[[]User]{} }

// Factors are never asked for.
type Factors struct{}

// ListFactors fails once it is executed.
func (Factors) ListFactors(context.Context, string) Call[[]Factor] { return Call[[]Factor]{} }

// VerifyFactor fails once it is executed.
func (Factors) VerifyFactor(context.Context, string, string) Call[*Verified] {
	return Call[*Verified]{}
}

// GetFactorTransactionStatus fails once it is executed.
func (Factors) GetFactorTransactionStatus(context.Context, string, string, string) Call[*Status] {
	return Call[*Status]{}
}

// User is nobody.
type User struct{}

// GetId is empty.
func (User) GetId() string { return "" }

// Factor is none.
type Factor struct{ UserFactorPush *UserFactorPush }

// UserFactorPush is none.
type UserFactorPush struct{}

// GetId is empty.
func (*UserFactorPush) GetId() string { return "" }

// Verified is never seen.
type Verified struct{ Links any }

// GetFactorResult is empty.
func (*Verified) GetFactorResult() string { return "" }

// Status is never seen.
type Status struct {
	UserFactorPushTransaction         *struct{}
	UserFactorPushTransactionRejected *struct{}
	UserFactorPushTransactionTimeout  *struct{}
	UserFactorPushTransactionWaiting  *struct{}
}
