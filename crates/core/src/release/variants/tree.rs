use crate::release::catalog::Catalog;
use crate::release::links::Links;
use std::collections::BTreeMap;
/// x
pub fn tree(_catalog: &Catalog, _links: &Links) -> BTreeMap<String, Vec<u8>> {
    BTreeMap::new()
}
