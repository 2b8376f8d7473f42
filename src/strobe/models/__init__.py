"""Networks, plain `nn.Module`s that know an image shape and a number of classes, and the module that trains them."""
