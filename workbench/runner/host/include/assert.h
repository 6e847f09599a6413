// `assert` is in the prelude.
#pragma once
