// The prelude of the cuda target; on the host its names are in workbench_host.h.
#pragma once
