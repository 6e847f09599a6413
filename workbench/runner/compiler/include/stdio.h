/* The prelude and NVRTC already give what device code can use of this header. */
#include <workbench_prelude.h>
