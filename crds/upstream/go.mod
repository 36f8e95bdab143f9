// Names the release of the MCS-API that tests compare the CRDs with. There is no Go code here.
module tombolo.io/crds/upstream

go 1.24

require sigs.k8s.io/mcs-api v0.5.2
