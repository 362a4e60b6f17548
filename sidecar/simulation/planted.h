// Which planted bug (core/planted_bugs.h) is on in this process.
#pragma once

#include <string>

namespace concord::simulation {

// False if there is none of that name.
bool Plant(const std::string& name);
std::string PlantedNames();

}  // namespace concord::simulation
