package supervise

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// pollEvery is the pause between two looks at a condition.
	pollEvery = 50 * time.Millisecond
	// readyLimit bounds each wait; a start takes about three seconds on an idle machine.
	readyLimit = 3 * time.Minute
)

// connect returns a client that our own waits use; its requests are few and never throttled.
func connect(kubeconfig string) (*kubernetes.Clientset, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	config.Timeout = 10 * time.Second
	return kubernetes.NewForConfig(config)
}

// await looks until ok says yes. The last error is part of the answer when time is up.
func await(ctx context.Context, what string, ok func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	var last error
	for {
		done, err := ok(ctx)
		if done {
			return nil
		}
		if err != nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w (last answer: %v)", what, context.Cause(ctx), last)
		case <-time.After(pollEvery):
		}
	}
}

// awaitAPI waits until the API server calls itself ready; by then the bootstrap roles exist.
func awaitAPI(ctx context.Context, client *kubernetes.Clientset) error {
	return await(ctx, "wait for the API server", func(ctx context.Context) (bool, error) {
		err := client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
		return err == nil, err
	})
}

// awaitDefaults waits for what a fresh namespace needs before a Pod can be created in it.
func awaitDefaults(ctx context.Context, client *kubernetes.Clientset) error {
	return await(ctx, "wait for the default service account", func(ctx context.Context) (bool, error) {
		_, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err == nil, err
	})
}

// makeNodes creates the simulated nodes and waits until all are ready.
func makeNodes(ctx context.Context, client *kubernetes.Clientset, nodes []Node) error {
	for _, node := range nodes {
		_, err := client.CoreV1().Nodes().Create(ctx, node.object(), metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create node %s: %w", node.Name, err)
		}
	}
	for _, node := range nodes {
		err := await(ctx, "wait for node "+node.Name, func(ctx context.Context) (bool, error) {
			seen, err := client.CoreV1().Nodes().Get(ctx, node.Name, metav1.GetOptions{})
			return err == nil && schedulable(seen), err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (n Node) object() *corev1.Node {
	labels := map[string]string{
		"kubernetes.io/hostname": n.Name,
		"kubernetes.io/os":       "linux",
		"kubernetes.io/arch":     "amd64",
	}
	for key, value := range n.Labels {
		labels[key] = value
	}
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name:        n.Name,
		Labels:      labels,
		Annotations: map[string]string{simulated: "fake"},
	}}
}

// schedulable says whether a Pod could be placed: the node is ready and its not-ready taint is gone.
func schedulable(node *corev1.Node) bool {
	if len(node.Spec.Taints) > 0 {
		return false
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}
