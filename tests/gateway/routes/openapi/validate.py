"""Says on a line each what of a document is no OpenAPI 3.1, by the validator of somebody else."""

import json
import sys

from openapi_spec_validator import OpenAPIV31SpecValidator

with open(sys.argv[1], encoding="utf-8") as file:
    document = json.load(file)
faults = list(OpenAPIV31SpecValidator(document).iter_errors())
for fault in faults:
    print("/".join(map(str, fault.absolute_path)), fault.message[:300])
print(f"{len(faults)} faults in {len(document['paths'])} paths")
sys.exit(bool(faults))
