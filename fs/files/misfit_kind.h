/* Names whose route does not fit the database any more (`misfit` of a place): each request for one
 * is EIO, with the sentence. They are no plain files, and not absent: who compares directories
 * would take what is absent for removed. */
#pragma once

#include "fs/core/kind.h"

extern const struct kind misfit_kind;
