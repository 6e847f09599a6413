// Its device part is in the prelude; the rest is for hosts.
#pragma once
