"""Every version that is pinned, once: what is upgraded is changed here, and nowhere else.

Sources, read on 2026-11-21: the support calendar of the EKS user guide (1.35 is in standard support until 2027-03-27);
for add-ons the version maps of @aws-quickstart/eks-blueprints 1.19.0 (npm, 2026-07-18); for databases the engine lists
of aws-cdk-lib 2.276.0 (npm, 2026-11-10).
"""

from datetime import date

KUBERNETES = "1.35"
KUBERNETES_STANDARD_SUPPORT_UNTIL = date(2027, 3, 27)
"""After this an hour of the control plane costs six times as much."""

ADDONS = {
    "vpc-cni": "v1.21.1-eksbuild.1",
    "coredns": "v1.13.2-eksbuild.3",
    "kube-proxy": "v1.35.0-eksbuild.2",
    "aws-ebs-csi-driver": "v1.57.1-eksbuild.1",
    "aws-efs-csi-driver": "v3.3.0-eksbuild.1",
    "aws-fsx-csi-driver": "v1.9.0-eksbuild.1",
    "eks-pod-identity-agent": "v1.3.10-eksbuild.2",
    "metrics-server": "v0.8.1-eksbuild.4",
}
"""EKS add-ons, as built for that Kubernetes version; metrics-server's is from a published map of add-on versions.

Those for EFS and FSx are from the versions that AWS's Global Capacity Orchestrator pins in 2026 (EFS's also in
github.com/zalando-incubator/kubernetes-on-aws, pull request 11666); that they are offered for it is not said there.
"""

POSTGRESQL = "17"
MYSQL = "8.4"
"""Major versions: RDS takes the minor ones by itself."""
