"""Ten tables of packages, from CSV to a served model, beside trees and a linear model."""
