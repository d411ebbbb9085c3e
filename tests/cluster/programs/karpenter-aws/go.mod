module karpenter-aws

go 1.26.0

require github.com/aws/karpenter-provider-aws v1.15.1
