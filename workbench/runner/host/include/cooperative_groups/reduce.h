// Part of cooperative_groups.h on the host target.
#pragma once
#include <cooperative_groups.h>
