package main

// Every bound of the worker, with its unit and its reason. What exceeds one is refused by name; what the worker can't
// bound itself (time, memory) its parent bounds by killing it.
const (
	// frameBytesMax bounds a frame either way; the same number stands in the Rust proto crate.
	frameBytesMax = 64 << 20
	// fileBytesMax bounds one file: the largest bundles of CRDs have about 6 MiB.
	fileBytesMax = 16 << 20
	// treeBytesMax bounds all that one render reads.
	treeBytesMax = 256 << 20
	// treeQueriesMax bounds the questions of one render: a tree larger than that is not one app.
	treeQueriesMax = 100_000
	// documentsMax bounds the documents of one file.
	documentsMax = 10_000
	// depthMax bounds nesting: the deepest schemas of real CRDs have about 80 levels.
	depthMax = 200
	// aliasesMax bounds the aliases of one document; hand-written files have a few dozen.
	aliasesMax = 1_000
	// expandedNodesMax bounds a document after its aliases are expanded.
	expandedNodesMax = 2_000_000
	// objectsMax bounds the objects of one render.
	objectsMax = 20_000
	// objectBytesMax bounds one object: etcd takes 1.5 MiB.
	objectBytesMax = 3 << 19
	// outputBytesMax bounds the objects of one render together; it fits into a frame.
	outputBytesMax = 48 << 20
	// chartBytesMax bounds a chart with its dependencies, unpacked.
	chartBytesMax = 64 << 20
	// chartFilesMax bounds the files of a chart with its dependencies.
	chartFilesMax = 10_000
	// chartDepthMax bounds charts within charts.
	chartDepthMax = 8
	// kustomizationsMax bounds the kustomizations that one build reaches.
	kustomizationsMax = 1_000
	// kustomizationDepthMax bounds a chain of bases.
	kustomizationDepthMax = 64
	// listDepthMax bounds Lists within Lists.
	listDepthMax = 4
	// schemaDepthMax bounds the nesting of a values schema.
	schemaDepthMax = 200
	// policySetsMax is how many compiled policy sets are kept: the old and the new one of a change, twice.
	policySetsMax = 4
	// policiesMax bounds the policies and bindings of a set.
	policiesMax = 1_000
	// messageBytesMax bounds the message of a failure or verdict.
	messageBytesMax = 2 << 10
)
