// What programs written with client-go do with an API server: informers of every kind, server-side apply, leases, conflicts.
// Prints one line for each check, and exits with 1 when one failed.
//
//	client-go KUBECONFIG
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/pager"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/retry"
)

const (
	namespace = "default"
	patience  = 20 * time.Second
	protobuf  = "application/vnd.kubernetes.protobuf"
)

var crds = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
var sails = schema.GroupVersionResource{Group: "ships.example", Version: "v1", Resource: "sails"}
var maps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

type clients struct {
	config   *rest.Config
	typed    *kubernetes.Clientset
	dynamic  *dynamic.DynamicClient
	metadata metadata.Interface
}

func main() {
	config, err := clientcmd.BuildConfigFromFlags("", os.Args[1])
	if err != nil {
		fmt.Println("FAIL kubeconfig:", err)
		os.Exit(1)
	}
	config.QPS, config.Burst = 1000, 1000
	c := clients{config, kubernetes.NewForConfigOrDie(config), dynamic.NewForConfigOrDie(config), metadata.NewForConfigOrDie(config)}
	checks := []struct {
		name string
		run  func(context.Context, clients) error
	}{
		{"typed informer with resync", typedInformer},
		{"custom resources through a dynamic informer", customInformer},
		{"metadata informer", metadataInformer},
		{"protobuf asked for, with JSON taken", protobufClient},
		{"server-side apply", serverSideApply},
		{"retry on conflict", conflicts},
		{"leader election", election},
		{"pages", pages},
		{"recorded events", recorded},
		{"discovery", discovered},
	}
	failed := false
	for _, check := range checks {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if err := check.run(ctx, c); err != nil {
			failed = true
			fmt.Printf("FAIL %s: %v\n", check.name, err)
		} else {
			fmt.Println("ok", check.name)
		}
		cancel()
	}
	if failed {
		os.Exit(1)
	}
}

// seen counts what an informer's handlers were told of one object.
type seen struct {
	sync.Mutex
	added, updated, resynced, deleted int
	changed                           chan struct{}
}

func watching(informer cache.SharedIndexInformer, name string) (*seen, error) {
	s := &seen{changed: make(chan struct{}, 100)}
	ours := func(obj any) bool {
		if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
			obj = gone.Obj
		}
		meta, ok := obj.(metav1.Object)
		return ok && meta.GetName() == name
	}
	note := func(what *int) {
		s.Lock()
		*what++
		s.Unlock()
		select {
		case s.changed <- struct{}{}:
		default:
		}
	}
	_, err := informer.AddEventHandlerWithResyncPeriod(cache.FilteringResourceEventHandler{
		FilterFunc: ours,
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { note(&s.added) },
			UpdateFunc: func(old, new any) {
				if old.(metav1.Object).GetResourceVersion() == new.(metav1.Object).GetResourceVersion() {
					note(&s.resynced)
				} else {
					note(&s.updated)
				}
			},
			DeleteFunc: func(any) { note(&s.deleted) },
		},
	}, time.Second)
	return s, err
}

// until waits for the counts to satisfy.
func (s *seen) until(ctx context.Context, what string, satisfied func() bool) error {
	for {
		s.Lock()
		done := satisfied()
		s.Unlock()
		if done {
			return nil
		}
		select {
		case <-s.changed:
		case <-ctx.Done():
			return fmt.Errorf("not told that it was %s: %d added, %d updated, %d resynced, %d deleted", what, s.added, s.updated, s.resynced, s.deleted)
		}
	}
}

// follow starts the informer and takes one object through its life.
func follow(ctx context.Context, informer cache.SharedIndexInformer, name string, resync bool, create, update, remove func() error) error {
	s, err := watching(informer, name)
	if err != nil {
		return err
	}
	go informer.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return errors.New("the informer did not become synchronised")
	}
	steps := []struct {
		what string
		do   func() error
		done func() bool
	}{
		{"created", create, func() bool { return s.added == 1 }},
		{"updated", update, func() bool { return s.updated >= 1 }},
		{"resynchronised", func() error { return nil }, func() bool { return !resync || s.resynced >= 1 }},
		{"deleted", remove, func() bool { return s.deleted == 1 }},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		if err := s.until(ctx, step.what, step.done); err != nil {
			return err
		}
	}
	return nil
}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"n": "0"}}
}

func followMap(ctx context.Context, c clients, informer cache.SharedIndexInformer, name string, resync bool) error {
	api := c.typed.CoreV1().ConfigMaps(namespace)
	return follow(ctx, informer, name, resync,
		func() error { _, err := api.Create(ctx, configMap(name), metav1.CreateOptions{}); return err },
		func() error {
			_, err := api.Patch(ctx, name, types.StrategicMergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}},"data":{"n":"1"}}`), metav1.PatchOptions{})
			return err
		},
		func() error { return api.Delete(ctx, name, metav1.DeleteOptions{}) })
}

func typedInformer(ctx context.Context, c clients) error {
	factory := informers.NewSharedInformerFactory(c.typed, time.Second)
	return followMap(ctx, c, factory.Core().V1().ConfigMaps().Informer(), "typed", true)
}

func metadataInformer(ctx context.Context, c clients) error {
	factory := metadatainformer.NewSharedInformerFactory(c.metadata, 0)
	return followMap(ctx, c, factory.ForResource(maps).Informer(), "metadata", false)
}

func protobufClient(ctx context.Context, c clients) error {
	config := rest.CopyConfig(c.config)
	config.ContentType = protobuf
	typed, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	both := clients{config, typed, c.dynamic, c.metadata}
	factory := informers.NewSharedInformerFactory(typed, 0)
	return followMap(ctx, both, factory.Core().V1().ConfigMaps().Informer(), "protobuf", false)
}

func customInformer(ctx context.Context, c clients) error {
	open := map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
	crd := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "sails.ships.example"},
		"spec": map[string]any{
			"group": sails.Group, "scope": "Namespaced", "names": map[string]any{"plural": "sails", "kind": "Sail"},
			"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "properties": map[string]any{"spec": open}}}}},
		},
	}}
	if _, err := c.dynamic.Resource(crds).Create(ctx, crd, metav1.CreateOptions{}); err != nil {
		return err
	}
	// As controllers do, the informer starts at once, whether the kind is served yet or not.
	informer := dynamicinformer.NewDynamicSharedInformerFactory(c.dynamic, 0).ForResource(sails).Informer()
	sail := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "ships.example/v1", "kind": "Sail", "metadata": map[string]any{"name": "fore"}, "spec": map[string]any{"reefed": false},
	}}
	api := c.dynamic.Resource(sails).Namespace(namespace)
	err := follow(ctx, informer, "fore", false,
		func() error { _, err := api.Create(ctx, sail, metav1.CreateOptions{}); return err },
		func() error {
			_, err := api.Patch(ctx, "fore", types.MergePatchType, []byte(`{"spec":{"reefed":true}}`), metav1.PatchOptions{})
			return err
		},
		func() error { return api.Delete(ctx, "fore", metav1.DeleteOptions{}) })
	return errors.Join(err, c.dynamic.Resource(crds).Delete(ctx, "sails.ships.example", metav1.DeleteOptions{}))
}

func serverSideApply(ctx context.Context, c clients) error {
	api := c.typed.CoreV1().ConfigMaps(namespace)
	apply := func(manager, value string, force bool) error {
		_, err := api.Apply(ctx, applycore.ConfigMap("applied", namespace).WithData(map[string]string{"k": value}),
			metav1.ApplyOptions{FieldManager: manager, Force: force})
		return err
	}
	if err := apply("one", "1", false); err != nil {
		return err
	}
	if err := apply("two", "2", false); !apierrors.IsConflict(err) {
		return fmt.Errorf("a second manager's value was no conflict: %v", err)
	}
	if err := apply("two", "2", true); err != nil {
		return err
	}
	got, err := api.Get(ctx, "applied", metav1.GetOptions{})
	if err != nil {
		return err
	}
	extracted, err := applycore.ExtractConfigMap(got, "two")
	if err != nil || extracted.Data["k"] != "2" {
		return fmt.Errorf("the second manager does not own its field: %v %v", extracted, err)
	}
	return api.Delete(ctx, "applied", metav1.DeleteOptions{})
}

func conflicts(ctx context.Context, c clients) error {
	api := c.typed.CoreV1().ConfigMaps(namespace)
	if _, err := api.Create(ctx, configMap("counter"), metav1.CreateOptions{}); err != nil {
		return err
	}
	const writers = 8
	failures := make(chan error, writers)
	for range writers {
		go func() {
			failures <- retry.OnError(retry.DefaultBackoff, func(error) bool { return true }, func() error {
				return retry.RetryOnConflict(retry.DefaultRetry, func() error {
					counter, err := api.Get(ctx, "counter", metav1.GetOptions{})
					if err != nil {
						return err
					}
					counter.Data["n"] += "1"
					_, err = api.Update(ctx, counter, metav1.UpdateOptions{})
					return err
				})
			})
		}()
	}
	for range writers {
		if err := <-failures; err != nil {
			return err
		}
	}
	counter, err := api.Get(ctx, "counter", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if len(counter.Data["n"]) != 1+writers {
		return fmt.Errorf("%d writers, but the value is %q", writers, counter.Data["n"])
	}
	return api.Delete(ctx, "counter", metav1.DeleteOptions{})
}

func election(ctx context.Context, c clients) error {
	lead := func(ctx context.Context, identity string, leads chan<- string) {
		lock := &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Name: "helm", Namespace: namespace},
			Client:     c.typed.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
		}
		leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
			Lock: lock, ReleaseOnCancel: true,
			LeaseDuration: 3 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: 200 * time.Millisecond,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(context.Context) { leads <- identity },
				OnStoppedLeading: func() {},
			},
		})
	}
	leads := make(chan string, 2)
	first, resign := context.WithCancel(ctx)
	defer resign()
	go lead(first, "first", leads)
	for _, want := range []string{"first", "second"} {
		select {
		case got := <-leads:
			if got != want {
				return fmt.Errorf("%s leads instead of %s", got, want)
			}
		case <-ctx.Done():
			return fmt.Errorf("%s never led", want)
		}
		if want == "first" {
			go lead(ctx, "second", leads)
			resign()
		}
	}
	return nil
}

func pages(ctx context.Context, c clients) error {
	api := c.typed.CoreV1().ConfigMaps(namespace)
	const count = 25
	for n := range count {
		made := configMap(fmt.Sprintf("page-%d", n))
		made.Labels = map[string]string{"pages": "yes"}
		if _, err := api.Create(ctx, made, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	byPages := pager.New(pager.SimplePageFunc(func(options metav1.ListOptions) (runtime.Object, error) { return api.List(ctx, options) }))
	byPages.PageSize = 10
	listed := 0
	options := metav1.ListOptions{LabelSelector: "pages=yes"}
	err := byPages.EachListItem(ctx, options, func(runtime.Object) error { listed++; return nil })
	if err != nil || listed != count {
		return fmt.Errorf("%d of %d listed: %v", listed, count, err)
	}
	if err := api.DeleteCollection(ctx, metav1.DeleteOptions{}, options); err != nil {
		return err
	}
	left, err := api.List(ctx, options)
	if err != nil || len(left.Items) != 0 {
		return fmt.Errorf("%d left of the deleted collection: %v", len(left.Items), err)
	}
	return nil
}

func recorded(ctx context.Context, c clients) error {
	about, err := c.typed.CoreV1().ConfigMaps(namespace).Create(ctx, configMap("subject"), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	broadcaster := record.NewBroadcaster()
	defer broadcaster.Shutdown()
	broadcaster.StartRecordingToSink(&corev1client.EventSinkImpl{Interface: c.typed.CoreV1().Events(namespace)})
	recorder := broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "check"})
	// The second is the first again: the recorder patches its count.
	recorder.Event(about, corev1.EventTypeNormal, "Seen", "it was seen")
	recorder.Event(about, corev1.EventTypeNormal, "Seen", "it was seen")
	watch, err := c.typed.CoreV1().Events(namespace).Watch(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=subject"})
	if err != nil {
		return err
	}
	defer watch.Stop()
	for {
		select {
		case change := <-watch.ResultChan():
			if event, ok := change.Object.(*corev1.Event); ok && event.Count == 2 {
				return c.typed.CoreV1().ConfigMaps(namespace).Delete(ctx, "subject", metav1.DeleteOptions{})
			}
		case <-ctx.Done():
			return errors.New("the event was not counted twice")
		}
	}
}

func discovered(_ context.Context, c clients) error {
	_, lists, err := c.typed.Discovery().ServerGroupsAndResources()
	if err != nil {
		return err
	}
	for _, list := range lists {
		for _, resource := range list.APIResources {
			if list.GroupVersion == "apps/v1" && resource.Name == "deployments" && resource.Kind == "Deployment" {
				_, err = c.typed.Discovery().OpenAPISchema()
				return err
			}
		}
	}
	return errors.New("deployments are not discovered")
}
